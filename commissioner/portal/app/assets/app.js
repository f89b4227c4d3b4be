// What every page does: forms that ask the API, and times.
import { t } from "./text.js";
import { $, h, failure, times } from "./dom.js";
import { api } from "./api.js";
import { sure } from "./dialog.js";

document.documentElement.classList.add("js");
times();

// A form says what it asks of the API: data-api is a method and a path, in which
// {names} are fields. Where it leads to, what it says when it is done, and what it
// asks before are data-go, data-done and data-confirm. Whoever wants the answer
// listens to "answer".
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.api) return;
  event.preventDefault();
  if (form.dataset.confirm && !(await sure(form.dataset.confirm))) return;
  const [method, path, body] = request(form);
  const button = $("button:not([type=button])", form);
  const says = $(":scope > .says", form) ?? form.appendChild(h("div", { class: "says", role: "status" }));
  says.replaceChildren();
  button.disabled = true;
  try {
    const answer = await api(method, path, method === "GET" || (method === "DELETE" && !Object.keys(body).length) ? undefined : body);
    if (form.dataset.go) return void location.assign(form.dataset.go);
    if (form.dataset.done) says.replaceChildren(h("p", { class: "done-note" }, form.dataset.done));
    form.dispatchEvent(new CustomEvent("answer", { detail: answer }));
  } catch (err) {
    says.replaceChildren(failure(err));
  } finally {
    button.disabled = false;
  }
});

function request(form) {
  const [method, template] = form.dataset.api.split(" ");
  const body = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    if (!field.value && field.dataset.empty) body[field.dataset.empty] = true;
    else body[field.name] = field.value;
  }
  const path = template.replace(/\{(\w+)\}/g, (_, name) => {
    const value = encodeURIComponent(body[name]);
    if (!("keep" in form.dataset)) delete body[name];
    return value;
  });
  return [method, path, body];
}

// Which networks are well is told where it was asked.
document.addEventListener("answer", (event) => {
  if (!("health" in event.target.dataset)) return;
  const { findings } = event.detail;
  $(".says", event.target).replaceChildren(...(findings.length ? findings.map(failure) : [h("p", { class: "done-note" }, t("js.healthy"))]));
}, true);
