package login

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// masks are the digits and signs that stand for letters in passwords, and
// masked the letters.
const (
	masks  = "01345789@$!+"
	masked = "oieastbgasit"
)

// rows are what fingers find on keyboards of several countries, and the ways
// down them; both ways.
var rows = bothWays("1234567890-= `1234567890 qwertyuiop[] qwertzuiopü azertyuiop asdfghjkl;' asdfghjklöä qsdfghjklm zxcvbnm,./ yxcvbnm,.- wxcvbn " +
	"йцукенгшщзхъ фывапролджэ ячсмитьбю 1qaz2wsx3edc4rfv5tgb6yhn7ujm 1q2w3e4r5t6y7u8i9o0p q1w2e3r4t5y6u7i8o9p0 1qay2wsx3edc qazwsxedcrfvtgbyhnujm " +
	"qayxswedcvfr zaq1xsw2cde3vfr4 zaq12wsx !\"§$%&/()= !@#$%^&*()_+ 147258369 789456123 3.1415926535 13579 24680 112358132134")

// common are the words that passwords are most often made of, in lower case:
// what guessers try first. That a word stands here costs a password no more
// than the surprise of it.
var common, longestCommon = parseCommon(`
password passwort passw0rd passphrase motdepasse contrasena contraseña senha wachtwoord parola haslo heslo lozinka salasana adgangskode
pass pwd pword secret secrets geheim secreto segreto admin administrator administrateur root toor superuser user username benutzer guest gast
login logon signin welcome willkommen bienvenue benvenuto bienvenido default changeme changeit letmein openup opensesame trustno1 access allow
master system server manager operator support service test tester testing testtest demo sample example temp temporary install setup config
gatehouse gateway gatekeeper matter thread zigbee zwave homeassistant hassio hass smarthome home house haus maison casa zuhause heim hub bridge router
modem internet wifi wlan wireless network netzwerk netgear linksys dlink tplink fritzbox fritz asus cisco ubiquiti unifi synology raspberry raspberrypi
kitchen bedroom living livingroom bathroom garage garden garten balcony balkon door frontdoor window light lights lamp lampe licht switch
iloveyou iloveu loveyou loveme lovely love liebe liebling schatz schatzi jetaime teamo tiamo amore amour mylove forever always baby babygirl babyboy
sweet sweetheart sweetie honey angel angels princess prinzessin prince princesa queen king beautiful pretty sexy hottie cutie kisses hello hallo hola bonjour
salut ciao hithere hey goodbye please thanks thankyou friend friends freund bestfriend family familie famille famiglia mother mutter father vater mama papa
mommy daddy sister brother wife husband children kids boys girls girl boy dragon monkey tiger lion eagle falcon wolf bear panda koala kitty kitten cat cats
dog dogs puppy hund katze maus mouse horse pferd pony bunny rabbit hase chicken duck turtle fish dolphin shark snake spider butterfly bird cow pig
sunshine sun sonne sonnenschein moon mond star stars stern starlight sky heaven himmel rainbow flower flowers blume blumen rose rosebud lily daisy
summer sommer winter spring fruehling autumn herbst january january february march april june july august september october november december
januar februar maerz mai juni juli oktober dezember monday tuesday wednesday thursday friday saturday sunday montag dienstag mittwoch donnerstag freitag
samstag sonntag football fussball soccer baseball basketball hockey tennis golf rugby cricket volleyball sports champion winner team
liverpool arsenal chelsea manchester united barcelona madrid realmadrid juventus bayern bayernmuenchen dortmund schalke borussia hamburg celtic rangers
yankees cowboys steelers lakers redsox packers eagles broncos patriots giants raiders superman batman spiderman ironman wonderwoman joker captain america
marvel avengers pokemon pikachu naruto sasuke dragonball onepiece minecraft fortnite roblox zelda mario sonic nintendo playstation xbox gamer gaming
starwars startrek jedi yoda vader skywalker lukeskywalker matrix hobbit gandalf frodo harrypotter potter hogwarts dumbledore simpsons homer bart snoopy
garfield mickey mickeymouse minnie disney barbie elsa frozen google facebook twitter instagram youtube netflix amazon apple iphone samsung android
microsoft windows linux ubuntu debian computer laptop desktop keyboard monitor printer telephone phone mobile hacker hacking killer ninja pirate
shadow ghost phantom demon devil satan lucifer wizard magic magick merlin knight warrior soldier ranger hunter sniper gunner trooper rocket thunder
lightning storm hurricane fire flame phoenix ice snow freedom liberty peace hope faith grace trust truth jesus jesuschrist christ christian god godisgood
allah bible church blessed blessing money cash dollar euro gold golden silver diamond platinum ruby crystal pearl casino lucky lucky7 poker jackpot
mercedes porsche ferrari lamborghini audi volkswagen golfgti toyota honda yamaha suzuki kawasaki harley harleydavidson ford mustang camaro corvette chevy
michael michelle jennifer jessica daniel david robert thomas charlie charles andrew anthony joshua matthew christopher jordan justin ashley amanda nicole
samantha elizabeth sarah melissa stephanie william richard george edward james john johnny jack jackson harry oliver oscar max maximilian alexander
alexandra alex andreas andrea stefan stephan peter paul anna maria marie martin markus michaela sabine claudia susanne christian sebastian tobias
florian felix lukas leon jonas julia laura lisa lena emma mia hannah sophie sophia olivia isabella charlotte emily chloe lucas louis hugo pierre
nicolas nathan antonio francesco giuseppe giovanni marco luca alessandro carlos jose juan pedro pablo miguel fernando alejandro roberto ricardo eduardo
patrick kevin brian steven scott eric jason ryan tyler brandon taylor morgan madison hunter austin dallas houston phoenix boston chicago denver london
paris berlin muenchen koeln wien zuerich rome roma milano napoli moscow newyork york california texas florida germany deutschland france italia italy
espana spain england britain canada australia america american usa mexico brasil brazil argentina china japan tokyo india russia
chocolate schokolade cookie cookies cupcake candy sugar banana orange lemon cherry strawberry peach apples pepper ginger butter cheese cheesecake
pizza burger bacon coffee kaffee whiskey vodka tequila beer bier wine wein purple blue green yellow black white red pink blau gruen schwarz weiss rot
music musik guitar gitarre piano drummer metal metallica nirvana slipknot eminem beatles elvis rockstar rocknroll hiphop dance dancer player
happy happiness smile smiley funny crazy cool awesome great good bad badboy badass bigdog bigdaddy biteme fuckyou fuckoff fucker fuck shit asshole bitch
whatever nothing something anything everything nobody somebody someone unknown private personal public business company office work school schule
student teacher doctor nurse police maverick viper cobra venom blaster digital cyber energy power turbo nitro extreme ultimate supreme legend hero
zaq qwe qaz wsx asd zxc abc abcd xyz xxx qwert qwerty qwertz azerty asdf zxcv qazwsx monkey1 abc123 a1b2c3d4
one two three four five six seven eight nine ten the and you your this that with from mine yours for not are was who
correct horse battery staple correcthorsebatterystaple tobeornottobe maytheforcebewithyou thequickbrownfox loremipsum lorem ipsum
`)

func bothWays(list string) []string {
	back := []rune(list)
	slices.Reverse(back)
	return strings.Fields(list + " " + string(back))
}

func parseCommon(list string) (map[string]bool, int) {
	all, longest := map[string]bool{}, 0
	for _, word := range strings.Fields(list) {
		all[word] = true
		longest = max(longest, utf8.RuneCountInString(word))
	}
	for year := 1940; year <= 2059; year++ {
		all[strconv.Itoa(year)] = true
	}
	return all, longest
}
