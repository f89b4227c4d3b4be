// One pairing, step by step, with the questions it asks.
import { t, has } from "./text.js";
import { $, h, icon, failure, labelled } from "./dom.js";
import { api, stream } from "./api.js";
import { dialog } from "./dialog.js";

const words = (name) => (has("step." + name) ? t("step." + name) : name);

// pair pairs an item of the queue; announce says where it is to who cannot see.
export async function pair(item, { zone, network }, announce) {
  const now = h("p", {}, t("js.begins")), bar = h("progress", { max: 1, value: 0, "aria-label": t("js.pairing") });
  const where = h("p", { class: "hint" }), steps = h("ol", { class: "steps" });
  const progress = h("div", { class: "item" }, now, bar, where, h("details", {}, h("summary", {}, t("js.steps")), steps));
  item.body.replaceChildren(progress);
  announce(t("js.begins"));
  try {
    await stream("POST", "/api/v1/pair", { code: item.code, name: item.name.value.trim(), zone, network: network || undefined, interactive: true }, (line) => {
      if (line.question) return void question(line.question);
      if (line.admitted) {
        announce(t("js.admitted", { name: line.admitted.name }));
        if (item.count === 1) item.title.textContent = line.admitted.name;
        progress.before(admitted(line.admitted));
        steps.replaceChildren();
        return;
      }
      step(line);
    });
    progress.remove();
  } catch (err) {
    bar.remove();
    throw err;
  }

  function step(line) {
    if (line.state === "retrying") {
      steps.replaceChildren();
      now.textContent = t("js.retrying", { why: line.detail ?? "" });
      return;
    }
    let row = $(`[data-step="${line.step}"]`, steps);
    if (!row) steps.append((row = h("li", { "data-step": line.step }, h("span", {}, words(line.name)), h("span", {}))));
    row.dataset.state = line.state;
    if (line.state !== "started") row.lastChild.textContent = line.ms + " ms";
    bar.max = line.of;
    bar.value = line.state === "done" ? line.step : line.step - 1;
    where.textContent = t("js.step", { step: line.step, of: line.of });
    if (line.state !== "started") return;
    now.textContent = words(line.name) + " …";
    if (line.step % 4 === 1) announce(words(line.name)); // not each of what takes milliseconds
  }
}

function admitted(device) {
  const firmware = device.firmware;
  return h("div", { class: "item" }, h("p", { class: "success" }, icon("done"), t("js.admitted", { name: device.name })),
    firmware?.verdict === "quarantine" ? h("p", { class: "note" }, t("js.quarantined")) : firmware?.update && h("p", { class: "note" }, t("js.old")),
    h("p", {}, h("a", { href: "/devices/" + device.node_id }, t("js.see"))));
}

// question asks what a pairing wants to know. Who leaves it gives up.
async function question(q) {
  const answered = await (q.software ? dialog(t("js.software"), (end) => software(q, end)) : dialog(t("js.ask"), (end) => network(q, end)));
  if (!answered) await api("POST", "/api/v1/questions/" + q.id, { cancel: true }).catch(console.info); // it may be over
}

// reply gives an answer to a question, and ends it, unless the answer is not
// understood: says tells why.
async function reply(q, answer, says, end) {
  try {
    await api("POST", "/api/v1/questions/" + q.id, answer);
    end(true);
  } catch (err) {
    says.replaceChildren(failure(err));
  }
}

const giveUp = (end) => h("button", { class: "button", onclick: () => end(false) }, t("js.ask.give-up"));

// software asks whether a device shall come in that is quarantined for what it runs.
function software(q, end) {
  const { product, version, reasons, update } = q.software, says = h("div", { role: "status" });
  return [
    h("p", {}, t("js.software.runs", { product, version })),
    h("ul", {}, reasons.map((r) => h("li", {}, r.message))),
    h("p", {}, update ? t("js.software.until", { update }) : t("js.software.for-now")),
    h("button", { class: "button primary", onclick: () => reply(q, { accept: true }, says, end) }, t("js.software.accept")),
    says,
    giveUp(end),
  ];
}

// network asks which network a device shall join.
function network(q, end) {
  const seen = q.seen.filter((s) => q.kinds.includes(s.kind));
  const choice = h("select", { name: "choice" }, seen.map((s, i) => h("option", { value: i }, s.known ? t("js.ask.known", { name: s.known }) : s.name)),
    q.kinds.map((kind) => h("option", { value: kind }, `${t("js.ask.other")} (${kind === "wifi" ? "Wi-Fi" : "Thread"})`)));
  const ssid = h("input", { maxlength: 32, autocomplete: "off", autocapitalize: "none" });
  const password = h("input", { type: "password", autocomplete: "off" });
  const dataset = h("input", { type: "password", autocomplete: "off" }), router = h("input", { inputmode: "url", autocomplete: "off" });
  const keep = h("input", { type: "checkbox", checked: true });
  const fields = { ssid: labelled(t("js.ask.ssid"), ssid), password: labelled(t("js.ask.password"), password), dataset: labelled(t("js.ask.dataset"), dataset),
    router: labelled(t("js.ask.router"), router), keep: h("label", { class: "check" }, keep, t("js.ask.keep")) };
  const says = h("div", { role: "status" });
  const chosen = () => seen[choice.value] ?? { kind: choice.value };
  const show = () => {
    const s = chosen(), wifi = s.kind === "wifi";
    fields.ssid.hidden = !wifi || Boolean(s.name);
    fields.password.hidden = !wifi || Boolean(s.known) || Boolean(s.open);
    fields.dataset.hidden = fields.router.hidden = wifi || Boolean(s.known);
    fields.keep.hidden = Boolean(s.known);
  };
  const answer = () => {
    const s = chosen();
    if (s.known) return { network: s.known };
    const name = s.name || ssid.value, save = keep.checked ? { save_as: name || "Thread" } : {};
    if (s.kind === "thread") return { ...(dataset.value ? { dataset: dataset.value } : { border_router: router.value }), ...save };
    return { ssid: name, ...(password.value ? { password: password.value } : { open: true }), ...save };
  };
  choice.addEventListener("change", show);
  show();
  return [
    q.failure && [h("p", {}, t("js.ask.failed", { name: q.tried })), failure(q.failure)],
    h("form", { onsubmit: (e) => {
      e.preventDefault();
      reply(q, answer(), says, end);
    } }, labelled(t("js.ask"), choice), Object.values(fields), h("button", { class: "button primary" }, t("js.ask.join"))),
    says,
    giveUp(end),
  ];
}
