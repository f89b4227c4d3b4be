// The invitation is in the fragment, which browsers send to nobody.
import { t } from "./text.js";
import { $, failure } from "./dom.js";
import { api, Failure } from "./api.js";

const form = $("#welcome"), invitation = location.hash.slice(1);
history.replaceState(null, "", location.pathname); // nor shall it stay in the history

const fail = (err) => $("#failure").replaceChildren(failure(err));

try {
  if (!invitation) throw new Failure({ code: "invitation-missing", message: t("js.welcome.none"), remedy: t("js.welcome.none.do") });
  const who = await api("POST", "/api/v1/welcome/question", { invitation });
  $("#who").textContent = t("js.welcome", { home: who.home, role: t("role." + who.role) });
  form.elements.name.value = who.name;
} catch (err) {
  form.hidden = true;
  fail(err);
}

$("#show").addEventListener("change", (e) => { form.password.type = e.target.checked ? "text" : "password"; });
form.addEventListener("submit", async (e) => {
  e.preventDefault();
  const button = $("button", form);
  button.disabled = true;
  try {
    await api("POST", "/api/v1/welcome", { invitation, name: form.elements.name.value, password: form.password.value });
    location.replace("/");
  } catch (err) {
    fail(err);
    button.disabled = false;
  }
});
