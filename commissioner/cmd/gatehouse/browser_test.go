package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/hooks"
)

// browser is a person's browser, or a program, at the gateway's web page:
//
//	browser accept LINK PASSWORD     comes in by an invitation; the cookie goes into $COOKIE, the page's address into $PAGE
//	browser METHOD PATH [BODY]       prints the answer's status and body
//
// With $TOKEN it is a program, else it has $COOKIE, if that is set.
func browser(ts *testscript.TestScript, refused bool, args []string) {
	if args[0] == "accept" {
		page, secret, _ := strings.Cut(args[1], "/welcome#")
		ts.Setenv("PAGE", page)
		body, err := json.Marshal(map[string]string{"invitation": secret, "password": args[2]})
		ts.Check(err)
		resp := visit(ts, "POST", "/api/v1/welcome", body)
		for _, c := range resp.Cookies() {
			if c.Name == door.Cookie {
				ts.Setenv("COOKIE", c.Value)
				keepSecret(ts, c.Value, args[2])
			}
		}
		if (resp.StatusCode != http.StatusOK) != refused {
			ts.Fatalf("the invitation is answered with %s", resp.Status)
		}
		return
	}
	var body []byte
	if len(args) > 2 {
		body = []byte(args[2])
	}
	resp := visit(ts, args[0], args[1], body)
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d\n%s", resp.StatusCode, answer)
	appendTo(ts, "answers", string(answer))
}

// secretTo puts a field of the last answer into a variable: secretto VAR FIELD.
// What is secret in it is not to be found anywhere later.
func secretTo(ts *testscript.TestScript, _ bool, args []string) {
	var answer map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &answer))
	value, _ := answer[args[1]].(string)
	if value == "" {
		ts.Fatalf("there is no %s in it", args[1])
	}
	ts.Setenv(args[0], value)
	keepSecret(ts, value[strings.LastIndexAny(value, "#.")+1:])
}

func keepSecret(ts *testscript.TestScript, secrets ...string) {
	appendTo(ts, "secrets", strings.Join(secrets, "\n")+"\n")
}

func appendTo(ts *testscript.TestScript, file, text string) {
	f, err := os.OpenFile(ts.MkAbs(file), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = f.WriteString(text)
	ts.Check(err)
	ts.Check(f.Close())
}

// pages gets pages, or answers of the API, and keeps them in the file answers.
func pages(ts *testscript.TestScript, _ bool, args []string) {
	for _, path := range args {
		resp := visit(ts, "GET", path, nil)
		answer, err := io.ReadAll(resp.Body)
		ts.Check(err)
		if resp.StatusCode != http.StatusOK || len(answer) == 0 {
			ts.Fatalf("%s: %s %.200s", path, resp.Status, answer)
		}
		appendTo(ts, "answers", string(answer))
	}
}

func visit(ts *testscript.TestScript, method, path string, body []byte) *http.Response {
	req, err := http.NewRequest(method, ts.Getenv("PAGE")+path, bytes.NewReader(body))
	ts.Check(err)
	if token := ts.Getenv("TOKEN"); token != "" {
		req.SetBasicAuth("program", token)
	} else if cookie := ts.Getenv("COOKIE"); cookie != "" {
		req.AddCookie(&http.Cookie{Name: door.Cookie, Value: cookie})
	}
	// That the certificate is good is tested elsewhere.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := client.Do(req)
	ts.Check(err)
	ts.Defer(func() { resp.Body.Close(); client.CloseIdleConnections() })
	return resp
}

// listener is a program that is told what happens in the home: it writes the
// address where it is told to the file address, and each notice that is properly
// signed to the file notices, one a line.
func listener() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = os.WriteFile("hook-secret", []byte(hookSecret+"\n"), 0o600)
	}
	if err == nil {
		err = os.WriteFile("address", []byte("http://"+l.Addr().String()+"/"+hookSecret+"\n"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get(hooks.SignatureHeader) != hooks.Sign(hookSecret, body) || r.URL.Path != "/"+hookSecret {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		f, err := os.OpenFile("notices", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			defer f.Close()
			fmt.Fprintf(f, "%s\n", body)
		}
	}))
}

// hookSecret is what the listener knows the gateway by, and part of its address.
const hookSecret = "what-only-the-listener-knows"
