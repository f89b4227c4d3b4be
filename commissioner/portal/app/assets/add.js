// Letting devices in: codes become a queue, which is paired one after the other.
import { t } from "./text.js";
import { $, h, icon, failure, labelled } from "./dom.js";
import { Scanner, read, check } from "./scan.js";
import { pair } from "./pair.js";

const queue = [], list = $("#queue"), form = $("#pair"), go = $("#go");
let pairing = false;

const announce = (text) => { $("#says").textContent = text; };
const scanner = new Scanner($("#video"), take, (text) => { $("#camera-says").textContent = text; });

// take puts codes into the queue that are not there yet.
function take(codes) {
  for (const code of codes) {
    if (queue.some((item) => item.code === code.code)) continue;
    const several = code.devices.length > 1;
    const name = h("input", { name: "name", maxlength: 60, autocomplete: "off", enterkeyhint: "done", placeholder: t("js.device.hint") });
    const item = { code: code.code, state: "waiting", name, count: code.devices.length };
    item.body = h("div", { class: "item" }, labelled(t("js.device.name"), name));
    item.drop = h("button", { class: "drop", type: "button", "aria-label": t("js.drop"), onclick: () => remove(item) }, icon("close"));
    item.element = h("li", { class: "card" }, h("header", {}, h("div", {}, icon("device"), (item.title = h("h3", {}, several ? t("js.several", { n: code.devices.length }) : t("js.device")))), item.drop), item.body);
    item.element.classList.add("item");
    name.addEventListener("keydown", (e) => { if (e.key === "Enter") form.requestSubmit(); });
    queue.push(item);
    list.append(item.element);
    navigator.vibrate?.(60);
    announce(t("js.queued", { n: waiting().length }));
  }
  show();
}

const waiting = () => queue.filter((item) => item.state === "waiting");

function remove(item) {
  queue.splice(queue.indexOf(item), 1);
  item.element.remove();
  show();
}

function show() {
  const devices = waiting().reduce((n, item) => n + item.count, 0);
  $("#none").hidden = queue.length > 0;
  form.hidden = pairing || !devices;
  go.textContent = devices > 1 ? t("js.pair.many", { n: devices }) : t("js.pair.one");
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  pairing = true;
  stop();
  show();
  $("#home")?.remove();
  $("#found").focus();
  for (let item; (item = waiting()[0]); ) {
    item.state = "pairing";
    item.drop.hidden = true;
    try {
      await pair(item, { zone: form.zone?.value, network: form.network?.value }, announce);
      item.state = "done";
    } catch (err) {
      item.state = "failed";
      fail(item, err);
    }
  }
  pairing = false;
  show();
  if (queue.some((item) => item.state === "done")) list.after(h("p", { id: "home" }, h("a", { class: "button primary wide", href: "/" }, t("js.home"))));
});

// fail leaves the choice of trying a device again.
function fail(item, err) {
  announce(err.message);
  item.body.append(failure(err), h("div", { class: "actions" },
    h("button", { class: "button", type: "button", onclick: () => {
      item.state = "waiting";
      item.body.replaceChildren(labelled(t("js.device.name"), item.name));
      if (pairing) return; // its turn comes
      show();
      form.requestSubmit();
    } }, t("js.retry")),
    h("button", { class: "button", type: "button", onclick: () => remove(item) }, t("js.skip"))));
}

function stop() {
  scanner.stop();
  $("#camera").hidden = true;
  $("#again").hidden = false;
}

async function start() {
  $("#camera").hidden = false;
  $("#again").hidden = true;
  try {
    await scanner.start();
  } catch (err) {
    $("#camera-says").textContent = err.message;
    $("#again").hidden = false;
  }
}

// given takes what a photo or a person gave.
async function given(codes, otherwise) {
  const says = $("#code-failure");
  says.replaceChildren();
  try {
    const found = await codes();
    if (!found.length) throw new Error(otherwise);
    take(found);
    return true;
  } catch (err) {
    says.replaceChildren(failure(err));
    return false;
  }
}

$("#again").addEventListener("click", start);
$("#type").addEventListener("click", (e) => {
  $("#typed").hidden = !$("#typed").hidden;
  e.target.setAttribute("aria-expanded", !$("#typed").hidden);
  if (!$("#typed").hidden) $("#code").focus();
});
$("#photo").addEventListener("change", async (e) => {
  if (e.target.files[0]) await given(() => read(e.target.files[0]), t("js.camera.no-code"));
  e.target.value = "";
});
$("#typed").addEventListener("submit", async (e) => {
  e.preventDefault();
  if (await given(() => check(e.target.code.value), "")) e.target.reset();
});
addEventListener("pagehide", stop);
start();
