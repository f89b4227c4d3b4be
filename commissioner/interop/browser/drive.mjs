// A person with a phone: Chromium, driven by playwright-core.
//
//     node drive.mjs '{"home", "pictures", "chromium", "video", "origin", "gate", "fingerprint"}'
//
// home is for its profile, video what its camera sees, gate the address of the
// gateway at origin, and fingerprint what a person read of its certificate's
// authority, who compares it and then trusts that. It obeys the commands below, says what of the page broke in
// the answer to report, and ends with its input.
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { obey, say } from "../peers/lines.mjs";

const config = JSON.parse(process.argv[2]);
const phone = { width: 390, height: 844 }, desk = { width: 1280, height: 800 };
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const patience = 20_000; // ms for whatever is waited for

await trust();
const context = await chromium.launchPersistentContext(join(config.home, "profile"), {
    executablePath: config.chromium, headless: true, viewport: phone, hasTouch: true, isMobile: true, deviceScaleFactor: 2, chromiumSandbox: false, handleSIGTERM: false,
    args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
        "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--use-file-for-fake-video-capture=" + config.video, `--host-resolver-rules=MAP gatehouse.local [${config.gate}]`],
});
context.setDefaultTimeout(patience);
const page = context.pages()[0] ?? (await context.newPage());

// What a person never sees, and must not be.
const broken = [], hosts = new Set();
let taps = 0, expected = [];
page.on("console", message => {
    const text = message.text();
    if (message.type() === "error" && !expected.some(e => text.includes(e))) broken.push(text + " at " + message.location().url);
});
page.on("pageerror", error => broken.push(String(error.stack ?? error)));
context.on("request", request => hosts.add(new URL(request.url()).origin));
context.on("requestfailed", request => {
    const why = request.failure()?.errorText ?? "";
    if (!why.includes("ERR_ABORTED")) broken.push(`${request.url()}: ${why}`); // a page that is left
});

const tap = async locator => {
    taps++;
    await locator.tap();
};

// judge lets axe-core look at what there is now, in light and in dark.
async function judge(name) {
    for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
        for (const v of violations) {
            if (["serious", "critical"].includes(v.impact)) {
                broken.push(`${name}, ${colorScheme}: ${v.id}: ${v.help}: ${v.nodes.map(n => n.html + " " + (n.any[0]?.message ?? "")).join(" | ").slice(0, 600)}`);
            }
        }
        await page.screenshot({ path: join(config.pictures, `${name}-${colorScheme}.png`), fullPage: !(await page.locator("dialog[open]").count()) });
    }
    await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
    // Nothing is wider than the screen, and nothing to tap smaller than a thumb.
    const faults = await page.evaluate(() => {
        const found = [];
        if (document.documentElement.scrollWidth > innerWidth) found.push("it is wider than the screen");
        for (const e of document.querySelectorAll("button, .button, input:not([type=checkbox], [type=file]), select, nav a, .menu a")) {
            const { width, height } = e.getBoundingClientRect();
            if (e.checkVisibility() && width > 1 && (height < 43.5 || width < 43.5)) found.push(`too small to tap, ${width}×${height}: ${e.outerHTML.slice(0, 120)}`);
        }
        return found;
    });
    broken.push(...faults.map(f => `${name}: ${f}`));
}

// wide takes a picture as on a desk, if somebody will look at it.
async function wide(name) {
    if (!config.keep) return;
    await page.setViewportSize(desk);
    for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await page.screenshot({ path: join(config.pictures, `${name}-wide-${colorScheme}.png`) });
    }
    await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
    await page.setViewportSize(phone);
}

const at = path => page.waitForURL(config.origin + path);
const light = name => page.locator(".tile", { hasText: name });

// seen is a command that, if it fails, leaves a picture of where, and all that
// broke before.
const seen = commands => Object.fromEntries(Object.entries(commands).map(([name, command]) => [name, async args => {
    try {
        return await command(args);
    } catch (e) {
        await page.screenshot({ path: join(config.pictures, "failed.png") }).catch(console.error);
        throw new Error([`${name}: ${e.message}`, ...broken].join("\n"));
    }
}]));

const end = async () => {
    await context.close();
    process.exit(0);
};
process.on("SIGTERM", end);

say({ started: true });
obey(
    seen({
        // welcome comes in by an invitation.
        async welcome({ link, name, password }) {
            await page.goto(link);
            await page.locator("#who:not(:empty)").waitFor();
            await judge("welcome");
            if (name) {
                await page.locator("[name=name]").fill(name);
                await page.locator("[name=password]").focus();
            }
            await page.keyboard.type(password); // the field has the focus
            await tap(page.getByRole("button", { name: "Create my account" }));
            await at("/");
            if (await page.evaluate(() => location.hash || document.referrer)) broken.push("the invitation is still in the address");
            await page.locator(".empty, #devices").first().waitFor();
            await judge("first");
            return { taps };
        },

        // add scans what the camera sees, and pairs it all.
        async add({ codes }) {
            await tap(page.locator(".empty a, nav a[href='/add']").first());
            await page.locator("#queue > li").nth(codes - 1).waitFor();
            await judge("scanned");
            await wide("scanned");
            const began = Date.now();
            await tap(page.locator("#go"));
            await page.locator(".steps li").nth(5).waitFor({ state: "attached" });
            const progress = await page.locator("progress").first().getAttribute("max");
            await page.screenshot({ path: join(config.pictures, "pairing.png") });
            await page.locator("#home").waitFor({ timeout: 60_000 });
            const names = await page.locator(".success").allTextContents();
            await judge("paired");
            return { taps, steps: Number(progress), names, ms: Date.now() - began, failures: await page.locator(".failure").allTextContents() };
        },

        // list looks at the home.
        async list() {
            await page.goto(config.origin + "/");
            await page.locator(".tile").first().waitFor();
            await judge("devices");
            await wide("devices");
            return { names: await page.locator(".tile .name").allTextContents() };
        },

        // flip switches a light in the list.
        async flip({ name }) {
            await light(name).getByRole("switch").tap();
            return { on: await light(name).getByRole("switch").getAttribute("aria-checked") };
        },

        // shown waits until the list shows a light as it is: nobody touches it.
        async shown({ name, on }) {
            await light(name).locator(`[role=switch][aria-checked=${on}]`).waitFor();
            return { text: await light(name).locator("[data-power]").textContent() };
        },

        // share opens a device for another app, and shows its code.
        async share({ name }) {
            await light(name).locator(".name").tap();
            await page.locator("#open").waitFor();
            await judge("device");
            await wide("device");
            await page.locator("#ask").tap();
            await page.locator("#fabrics li").first().waitFor();
            await page.locator("#open").tap();
            await page.locator("#shared:not([hidden])").waitFor();
            await judge("shared");
            const digits = await page.locator("#digits").textContent();
            const left = await page.locator("#left").textContent();
            return { digits, left, fabrics: await page.locator("#fabrics li").allTextContents() };
        },

        // unshare closes the door: after somebody came in, when the device has done
        // so already, and again while it is open.
        async unshare() {
            expected = ["status of 409"];
            await page.locator("#close").tap();
            await page.locator("#share-says").waitFor();
            expected = [];
            await page.locator("#open").tap();
            await page.locator("#shared:not([hidden])").waitFor();
            await page.locator("#close").tap();
            await page.locator("#share-says").waitFor();
            return { open: await page.locator("#shared:not([hidden])").count() };
        },

        // look visits screens.
        async look({ screens }) {
            expected = ["status of 404"]; // one of them is not there
            for (const [name, path] of Object.entries(screens)) {
                await page.goto(config.origin + path);
                await page.locator("h1").waitFor();
                await judge(name);
                await wide(name);
            }
            expected = [];
            return {};
        },

        // mistype types a code with a wrong digit.
        async mistype({ code }) {
            await page.goto(config.origin + "/add");
            expected = ["status of 409", "status of 400"];
            await page.locator("#type").tap();
            await page.locator("#code").fill(code);
            await page.locator("#typed button").tap();
            await page.locator("#code-failure .failure").waitFor();
            await judge("mistyped");
            expected = [];
            return { text: await page.locator("#code-failure").textContent() };
        },

        // photo takes the code that is on a picture.
        async photo({ file }) {
            await page.goto(config.origin + "/add");
            await page.locator("#photo").setInputFiles(file);
            await page.locator("#queue > li").first().waitFor();
            return {};
        },

        // native scans as a browser does that reads codes by itself: this one's part
        // is played here, with what it read.
        async native({ text }) {
            const other = await context.newPage();
            const pictures = [];
            other.on("request", request => { if (request.headers()["content-type"]?.startsWith("image/")) pictures.push(request.url()); });
            await other.addInitScript(text => {
                globalThis.BarcodeDetector = class {
                    static getSupportedFormats = async () => ["qr_code"];
                    detect = async () => [{ rawValue: "https://example.org/" }, { rawValue: text }];
                };
            }, text);
            expected = ["status of 400", "status of 409"];
            await other.goto(config.origin + "/add");
            await other.locator("#queue > li").first().waitFor();
            await other.waitForTimeout(500);
            const queued = await other.locator("#queue > li").count();
            await other.close();
            expected = [];
            return { queued, pictures: pictures.length };
        },

        // asked is asked for a network while it pairs, and then told of a failure,
        // by a gateway whose part is played here.
        async asked({ code }) {
            const line = what => JSON.stringify(what) + "\n";
            const question = { id: "q1", kinds: ["wifi"], tried: "attic", failure: { code: "network-password-wrong", message: "its password is probably wrong", remedy: "give it again" },
                seen: [{ kind: "wifi", id: "", name: "attic", signal_dbm: -50 }, { kind: "wifi", id: "", name: "cellar", signal_dbm: -60, known: "cellar" }] };
            await page.route("**/api/v1/pair", route => route.fulfill({ contentType: "application/x-ndjson", body: line({ step: 10, of: 22, name: "choose-network", state: "started", ms: 0 }) +
                line({ question }) + line({ step: 10, of: 22, name: "choose-network", state: "failed", ms: 9 }) + line({ error: { code: "network-needed", step: "choose-network", message: "the device needs a network", remedy: "see a shell" } }) }));
            const answered = new Promise(done => page.route("**/api/v1/questions/q1", route => {
                done(route.request().postDataJSON());
                return route.fulfill({ json: { answered: "q1" } });
            }));
            await page.goto(config.origin + "/add");
            await page.locator("#type").tap();
            await page.locator("#code").fill(code);
            await page.locator("#typed button").tap();
            await page.locator("#go").tap();
            await page.locator("dialog[open]").waitFor();
            await judge("asked");
            await page.getByLabel("Password").fill("open sesame");
            await page.getByRole("button", { name: "Join" }).tap();
            const answer = await answered;
            await page.locator("#queue .failure").waitFor();
            await judge("refused");
            const text = await page.locator("#queue .failure").textContent();
            await page.unrouteAll({ behavior: "ignoreErrors" });
            return { answer, text };
        },

        // accept pairs a device whose software the home's rules quarantine, and lets
        // it in.
        async accept({ code }) {
            await page.goto(config.origin + "/add");
            await page.locator("#type").tap();
            await page.locator("#code").fill(code);
            await page.locator("#typed button").tap();
            await page.locator("#go").tap();
            await page.locator("dialog[open]").waitFor();
            const text = await page.locator("dialog[open]").textContent();
            await judge("software");
            await page.getByRole("button", { name: "Let it into quarantine" }).tap();
            await page.locator("#home").waitFor({ timeout: 60_000 });
            const note = await page.locator(".note").first().textContent();
            return { text, note };
        },

        // invite makes an invitation for somebody else.
        async invite({ name, role }) {
            await page.goto(config.origin + "/people");
            await page.locator("[aria-labelledby=inv] [name=name]").fill(name);
            await page.locator("[aria-labelledby=inv] [name=role]").selectOption(role);
            await page.locator("[aria-labelledby=inv] button").tap();
            await page.locator("#invitation:not([hidden])").waitFor();
            await judge("invited");
            return { link: await page.locator("#link").textContent() };
        },

        // passkey adds one, in an authenticator that is a part of the browser, and
        // uses it as the second factor and to log in.
        async passkey() {
            const cdp = await context.newCDPSession(page);
            await cdp.send("WebAuthn.enable");
            await cdp.send("WebAuthn.addVirtualAuthenticator", { options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true,
                isUserVerified: true, automaticPresenceSimulation: true } });
            await page.goto(config.origin + "/account");
            await page.locator("#add-passkey button").tap();
            await page.locator("form[data-api*='/passkeys/']").waitFor();
            await logout();
            await page.locator("#passkey").tap();
            await at("/");
            return {};
        },

        // login logs in by a password, and confirms with the passkey when asked.
        async login({ name, password }) {
            await logout();
            await judge("login");
            await wide("login");
            await page.locator("[name=name]").fill(name);
            await page.locator("[name=password]").fill(password);
            await page.getByRole("button", { name: "Log in" }).tap();
            await at("/");
            return {};
        },

        async confirm() {
            await page.goto(config.origin + "/people");
            expected = ["status of 403"];
            await page.locator("form[data-api='PUT /api/v1/approval'] select").selectOption("resident");
            await page.locator("form[data-api='PUT /api/v1/approval'] button").tap();
            await page.locator("dialog[open]").waitFor();
            await judge("second-factor");
            await wide("second-factor");
            await page.getByRole("button", { name: "Use a passkey" }).tap();
            await page.locator("form[data-api='PUT /api/v1/approval'] .done-note").waitFor();
            expected = [];
            return {};
        },

        // tell has a program told what happens.
        async tell({ name, url }) {
            await page.goto(config.origin + "/alerts");
            await page.locator("[name=name]").fill(name);
            await page.locator("[name=url]").fill(url);
            await page.locator("[name=secret]").fill("hush hush");
            await page.getByRole("button", { name: "Tell it from now on" }).tap();
            await page.locator(".cards h2").waitFor();
            await judge("told");
            return { text: await page.locator(".cards").textContent() };
        },

        // weigh is what the first screen takes, over the wire, with nothing kept.
        async weigh() {
            const cdp = await context.newCDPSession(page);
            await cdp.send("Network.enable");
            await cdp.send("Network.setCacheDisabled", { cacheDisabled: true });
            let octets = 0;
            cdp.on("Network.loadingFinished", e => { octets += e.encodedDataLength; });
            await page.goto(config.origin + "/");
            await page.waitForTimeout(500);
            await cdp.detach();
            return { octets };
        },

        report: async () => ({ broken, hosts: [...hosts] }),
    }),
    end,
);

async function logout() {
    await page.goto(config.origin + "/account");
    await page.getByRole("button", { name: "Log out", exact: true }).tap();
    await at("/login");
}

// trust has browsers that keep their certificates in this home trust the
// gateway's authority, as who follows its trust page does.
async function trust() {
    const pem = await new Promise((done, failed) => {
        const attempt = () => get({ host: config.gate, path: "/ca.pem", rejectUnauthorized: false }, response => {
            let text = "";
            response.on("data", piece => (text += piece)).on("end", () => done(text));
        }).on("error", () => setTimeout(attempt, 100)); // it has its certificate a moment after it is ready
        attempt();
        setTimeout(() => failed(new Error("the gateway gives no certificate")), patience).unref();
    });
    if (new X509Certificate(pem).fingerprint256 !== config.fingerprint) {
        throw new Error("the certificate is not the one whose fingerprint was shown");
    }
    const store = join(config.home, ".pki", "nssdb"), file = join(config.home, "authority.pem");
    mkdirSync(store, { recursive: true });
    writeFileSync(file, pem);
    execFileSync("certutil", ["-d", "sql:" + store, "-N", "--empty-password"]);
    execFileSync("certutil", ["-d", "sql:" + store, "-A", "-n", "home", "-t", "C,,", "-i", file]);
}
