import { t } from "./text.js";
import { $, h, failure, labelled } from "./dom.js";
import { api } from "./api.js";
import { dialog } from "./dialog.js";
import { possible, make } from "./passkey.js";

const none = !$("form[data-api*='/passkeys/'], form[data-api*='/authenticators/']"); // no second factor yet

// enrol handles a form that adds a proof: the first one takes the password.
function enrol(form, add) {
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const says = $(".says", form) ?? form.appendChild(h("div", { class: "says", role: "status" }));
    says.replaceChildren();
    try {
      await add(form.elements.name?.value, async (path) => {
        if (!none || (await api("GET", "/api/v1/session")).fresh_until) return api("POST", path, {});
        return api("POST", path, { password: (await askPassword()) ?? "" });
      });
    } catch (err) {
      says.replaceChildren(failure(err));
    }
  });
}

const askPassword = () => dialog(t("js.password"), (end) => {
  const field = h("input", { type: "password", autocomplete: "current-password", required: true });
  return h("form", { onsubmit: (e) => { e.preventDefault(); end(field.value); } }, h("p", {}, t("js.password.why")),
    labelled(t("js.password"), field), h("button", { class: "button primary" }, t("js.password.do")),
    h("button", { class: "button", type: "button", onclick: () => end() }, t("app.cancel")));
});

const addPasskey = $("#add-passkey");
addPasskey.hidden = !possible();
$("#by-number").hidden = possible();
enrol(addPasskey, async (name, begin) => {
  const made = await make(await begin("/api/v1/account/passkeys"));
  await api("PUT", "/api/v1/account/passkeys/" + encodeURIComponent(name), made);
  location.assign("/account");
});

let called = "";
enrol($("#add-app"), async (name, begin) => {
  const e = await begin("/api/v1/account/authenticators");
  const box = $("#new-app");
  called = name;
  $(".qr", box).src = e.qr;
  $(".digits", box).textContent = e.typed;
  box.hidden = false;
  prove.elements.code.focus();
});
const prove = $("#prove-app");
enrol(prove, async () => {
  await api("PUT", "/api/v1/account/authenticators/" + encodeURIComponent(called), { code: prove.elements.code.value.trim() });
  location.assign("/account");
});

$("form[data-codes]").addEventListener("answer", ({ detail }) => {
  const list = $("#codes");
  list.replaceChildren(...detail.codes.map((c) => h("li", {}, c)));
  list.hidden = false;
});

// Home Assistant takes the token as the password in its Matter server's URL.
$("form[data-token]").addEventListener("answer", ({ detail }) => {
  $("#ws").textContent = `wss://token:${detail.secret}@${location.host}/ws`;
  $("#token").hidden = false;
});
$("#copy").addEventListener("click", async (e) => {
  await navigator.clipboard.writeText($("#ws").textContent);
  e.target.textContent = t("js.copied");
});
