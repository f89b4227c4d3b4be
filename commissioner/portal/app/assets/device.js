import { t, has } from "./text.js";
import { $, $$, h, failure } from "./dom.js";
import { api, stream } from "./api.js";
import { live, controls, settle } from "./live.js";

const home = $("[data-node]"), path = "/api/v1/devices/" + home.dataset.node;
controls(home);
live((node) => (node === home.dataset.node ? [home] : []), () => ($(".control") ? settle(home) : known()), () => Infinity);

// known shows a device that says for the first time what it can do.
async function known() {
  const { values } = await api("GET", path + "/state").catch(() => ({ values: {} }));
  if (Object.keys(values).some((p) => /^[1-9]\d*\/6\/0$/.test(p)) && !$("input:focus")) location.reload();
}

// Sharing: a code, and how long it is good.
const share = $("#share");
if (share) {
  const shared = $("#shared"), open = $("#open"), seconds = 900;
  let ticking;
  const closed = (text) => {
    clearInterval(ticking);
    $(".qr", shared).src = "data:,";
    shared.hidden = true;
    open.hidden = false;
    $("#share-says")?.remove();
    if (text) share.append(h("p", { id: "share-says", role: "status", class: "done-note" }, text));
  };
  open.addEventListener("click", () => busy(open, share, async () => {
    const s = await api("POST", path + "/window", { seconds });
    closed();
    open.hidden = true;
    $(".qr", shared).src = s.picture;
    $("#digits").textContent = s.manual.replace(/^(\d{4})(\d{3})(\d{4})$/, "$1-$2-$3");
    const tick = () => {
      const left = Math.max(0, Math.round((new Date(s.expires) - Date.now()) / 1000));
      $("#left").textContent = t("js.share.left", { m: Math.floor(left / 60), s: String(left % 60).padStart(2, "0") });
      if (!left) closed(t("js.share.over"));
    };
    tick();
    ticking = setInterval(tick, 1000);
    shared.hidden = false;
    shared.scrollIntoView({ block: "nearest" });
  }));
  $("#close").addEventListener("click", () => busy($("#close"), share, async () => {
    await api("DELETE", path + "/window").catch((err) => { if (err.code !== "window-not-open") throw err; });
    closed(t("js.share.over"));
  }));
}

// Who else administers it is asked of the device, which may take its time.
const ask = $("#ask");
ask?.addEventListener("click", () => busy(ask, $("#fabrics"), async () => {
  const { fabrics } = await api("GET", path + "/fabrics");
  const name = (f) => f.ours ? t("js.fabrics.ours") : f.label || t("js.fabrics.other", { id: f.fabric_id.toString(16).toUpperCase(), vendor: f.vendor_id.toString(16).toUpperCase().padStart(4, "0") });
  $("[role=status]", $("#fabrics")).replaceChildren(h("ul", { class: "rows" }, fabrics.map((f) => h("li", {}, name(f)))), fabrics.length === 1 ? t("js.fabrics.only") : "");
  ask.hidden = true;
}));

const update = $("#update");
update?.addEventListener("click", () => busy(update, $("#firmware"), async () => {
  const says = $("#updating"), bar = h("progress", { max: 100, value: 0, "aria-label": t("js.update.offered") });
  const words = h("p", {});
  says.replaceChildren(bar, words);
  await stream("POST", path + "/update", {}, (line) => {
    const percent = line.size ? Math.round(((line.done ?? 0) * 100) / line.size) : 0;
    if (line.state === "downloading" && bar.value !== percent) bar.value = percent;
    const text = has("js.update." + line.state) ? t("js.update." + line.state, { percent }) : line.state;
    if (words.textContent !== text) words.textContent = text;
  });
}));

// busy does something once at a time, and shows below a section how it failed.
async function busy(button, section, what) {
  for (const old of $$(":scope > .failure", section)) old.remove();
  button.disabled = true;
  try {
    await what();
  } catch (err) {
    section.append(failure(err));
  } finally {
    button.disabled = false;
  }
}
