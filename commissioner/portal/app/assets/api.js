// Asking the gateway. What takes a second factor is asked for again by itself,
// once the person has shown one.
import { t, has } from "./text.js";
import { secondFactor } from "./factor.js";

// Failure is what the API says went wrong, or that it says nothing.
export class Failure extends Error {
  constructor({ code, message, remedy, reasons, step }) {
    super(message);
    Object.assign(this, { code, reasons, step, remedy: has("remedy." + code) ? t("remedy." + code) : remedy });
  }
}

const offline = () => new Failure({ code: "gateway-unreachable", message: t("app.offline"), remedy: t("app.offline.do") });

// ask gives the API's response, or throws a Failure. The body is sent as JSON,
// unless it has a type of its own.
export async function ask(method, path, body, { signal, type } = {}) {
  for (let tried = false; ; tried = true) {
    let response;
    try {
      response = await fetch(path, {
        method, signal, cache: "no-store",
        headers: body === undefined ? {} : { "Content-Type": type ?? "application/json" },
        body: body === undefined || type ? body : JSON.stringify(body),
      });
    } catch (err) {
      throw err.name === "AbortError" ? err : offline();
    }
    if (response.ok) return response;
    const told = await response.json().then((v) => v.error, () => null);
    const failed = new Failure(told ?? { code: "status-" + response.status, message: t("app.offline"), remedy: t("app.offline.do") });
    if (failed.code === "login-needed" && !location.pathname.startsWith("/login")) {
      location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
      await new Promise(() => {}); // the page is left
    }
    if (failed.code !== "second-factor-needed" || tried || !(await secondFactor())) throw failed;
  }
}

// api gives the API's answer.
export const api = async (...request) => (await ask(...request)).json();

// stream calls online for each line of the answer. A line that says how it
// failed is thrown.
export async function stream(method, path, body, online) {
  const response = await ask(method, path, body);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch(() => { throw offline(); });
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop();
    for (const text of lines) {
      if (!text.trim()) continue;
      const line = JSON.parse(text);
      if (line.error) throw new Failure(line.error);
      online(line);
    }
    if (done) return;
  }
}
