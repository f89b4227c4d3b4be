// The second factor: a dialog that appears when the API wants one.
import { t } from "./text.js";
import { h, failure, labelled } from "./dom.js";
import { api } from "./api.js";
import { dialog } from "./dialog.js";
import { possible, use } from "./passkey.js";

let asking = null; // one dialog, however many ask

// secondFactor resolves to whether one was shown.
export function secondFactor() {
  asking ??= show().finally(() => { asking = null; });
  return asking;
}

async function show() {
  const account = await api("GET", "/api/v1/account");
  return (await dialog(t("js.factor"), (end) => fill(account, end))) === true;
}

function fill(account, end) {
  const says = h("div", { role: "status" });
  const stop = new AbortController();
  const confirm = async (waiting, proof) => {
    says.replaceChildren(waiting);
    try {
      await api("POST", "/api/v1/session/confirm", await proof(), { signal: stop.signal });
      end(true);
    } catch (err) {
      if (err.name !== "AbortError") says.replaceChildren(failure(err));
    }
  };
  const leave = () => { stop.abort(); end(false); };
  const code = h("input", { name: "code", autocomplete: "one-time-code", inputmode: "text", required: true, maxlength: 32 });
  const byPasskey = account.passkeys.length > 0 && possible();
  const byCode = account.authenticators.length > 0 || account.recovery_codes > 0;
  return [
    h("p", {}, t("js.factor.why")),
    byPasskey && h("button", { class: "button primary", onclick: () => confirm(t("app.wait"), async () => ({ passkey: await use(await api("POST", "/api/v1/session/confirm/question", {})) })) }, t("js.factor.passkey")),
    byCode && h("form", { onsubmit: (e) => { e.preventDefault(); confirm(t("app.wait"), async () => ({ code: code.value.trim() })); } },
      labelled(t("js.factor.code"), code), h("button", { class: byPasskey ? "button" : "button primary" }, t("js.factor.send"))),
    account.button && h("button", { class: "button", onclick: () => confirm(t("js.factor.waiting"), async () => ({ button: true })) }, t("js.factor.button")),
    !byPasskey && !byCode && [!account.button && h("p", {}, t("js.factor.none")), h("a", { class: "button", href: "/account" }, t("js.factor.add"))],
    says,
    h("button", { class: "button", onclick: leave }, t("app.cancel")),
  ];
}
