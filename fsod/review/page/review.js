// The page of `fsod review`: what it shows is what the server says of the layer, and every verdict goes there at once.
import { learningPanel } from "./learning.js";
import { mapTools } from "./tools.js";
import { Wall, part } from "./wall.js";

const find = (selector) => document.querySelector(selector);
const UNKNOWN_COLOUR = "#ffffff", REFUSED_COLOUR = "#9aa3ac";

let found = new Map(); // id -> detection, in the order of the wall
let colours = new Map();
let shown = []; // ids that pass the filters
let current = null;
let scene = null, tools = null;
let shownLayer = "", changes = 0; // which layer this page shows, and after how many changes to it
let pending = 0;
let queue = Promise.resolve();

// ---- the server ----

async function ask(path, body) {
  const how = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, how);
  } catch {
    throw new Error("fsod review does not answer; what this page shows as judged is in the layer. Start it again, and open the address that it prints");
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error || `the server answered ${answer.status}`);
  return content;
}

/** Sends a change, after those before it; what the server made of it is shown. */
function change(path, body) {
  pending++;
  document.body.dataset.pending = pending;
  const layer = shownLayer;
  const sent = queue.then(() => ask(path, { layer, ...body })).then(apply);
  // what could not be done must not look done
  queue = sent.catch((error) => load().catch(() => {}).then(() => say(error.message))).finally(() => {
    pending--;
    document.body.dataset.pending = pending;
  });
  return sent.catch(() => null);
}

async function apply(answer) {
  say("");
  let missed = answer.changes !== changes + 1; // another tab has changed the layer
  changes = answer.changes;
  for (const [key, one] of Object.entries(answer.changed)) {
    const id = Number(key);
    if (one === null) {
      found.delete(id);
      wall.remove(id);
      scene.setBox(id, null);
      shown = shown.filter((other) => other !== id);
      if (current === id) choose(shown[0] ?? null);
    } else {
      const isNew = !found.has(id);
      missed ||= !colours.has(one.class_name); // a class that nobody has drawn before
      found.set(id, one);
      scene.setBox(id, one.box_xyxy_px);
      if (isNew) { wall.first(one); shown.unshift(id); } else wall.update(one);
      if (current === id) tell(one);
    }
  }
  showAreas(answer.areas);
  showUndo(answer.undoable);
  count();
  if (missed) await load();
  return answer;
}

/** Shows what another tab, or another program, has made of the layer meanwhile. */
async function catchUp() {
  if (pending || scene === null) return;
  const now = await ask("progress");
  if (now.name !== shownLayer || now.changes !== changes) await load();
  if (now.state === "running") learning.watch();
}

async function load() {
  const layer = await ask("layer");
  if (layer.name !== shownLayer) current = null;
  shownLayer = layer.name;
  changes = layer.changes;
  found = new Map(layer.found.map((one) => [one.id, one]));
  colours = new Map(layer.classes.map((one) => [one.name, one.colour]));
  document.title = `${layer.name}: fsod review`;
  find("#name").textContent = layer.name;
  find("#scene").textContent = `on ${layer.scene}`;
  showClasses(layer.classes);
  if (scene === null) makeMap(layer.size_px);
  scene.setBoxes([...found.values()].reverse().map((one) => [one.id, one.box_xyxy_px]));
  showAreas(layer.areas);
  showUndo(layer.undoable);
  learning.allow(layer.why_not_learn);
  filter();
  count();
  if (!found.has(current)) choose(nextOpen(-1) ?? shown[0] ?? null);
}

// ---- what is shown ----

const colourOf = (name) => colours.get(name) ?? UNKNOWN_COLOUR;
const wall = new Wall(find("#wall"), colourOf, choose);

function makeMap(sizePx) {
  const tileUrl = (left, top, right, bottom, side) => `piece/${left},${top},${right},${bottom}/${side}.jpg`;
  const styleOf = (id, selected) => {
    const one = found.get(id);
    if (!one) return null;
    const colour = selected ? "#ffffff" : one.verdict === "no" ? REFUSED_COLOUR : colourOf(one.class_name);
    return { colour, dash: one.verdict === "no", wide: selected || one.verdict === "yes" };
  };
  const onZoom = (zoom) => { find("#zoom-value").textContent = `${(100 * zoom).toFixed(zoom < 0.1 ? 1 : 0)} %`; };
  scene = sceneMap(find("#map"), sizePx, { tileUrl }, styleOf, onZoom);
  tools = mapTools(scene, () => current === null ? null : { id: current, box: found.get(current).box_xyxy_px }, {
    choose,
    mend: (id, box) => change("box", { id, box_xyxy_px: box }),
    draw: async (box) => {
      const answer = await change("box", { box_xyxy_px: box, class_name: find("#draw-class").value });
      const drawn = answer && Object.keys(answer.changed)[0];
      if (drawn) choose(Number(drawn), false);
    },
    area: (ring) => { change("area", { ring_px: ring }); draw(null); },
  });
  scene.map.once("rendercomplete", () => { document.body.dataset.ready = "true"; });
  scene.showAll();
}

function showClasses(classes) {
  const off = new Set([...document.querySelectorAll("#classes input:not(:checked)")].map((box) => box.value));
  find("#classes").replaceChildren(...classes.map(({ name, colour }) => {
    const label = document.createElement("label"), box = document.createElement("input"), swatch = part("swatch", "");
    Object.assign(box, { type: "checkbox", value: name, checked: !off.has(name) });
    swatch.style.background = colour;
    label.append(box, swatch, part("class-name", name));
    return label;
  }));
  find("#class-names").replaceChildren(...classes.map(({ name }) => Object.assign(document.createElement("option"), { value: name })));
  if (!find("#draw-class").value && classes.length) find("#draw-class").value = classes[0].name;
}

function filter() {
  const off = new Set([...document.querySelectorAll("#classes input:not(:checked)")].map((box) => box.value));
  const least = Number(find("#score").value), which = find("#which").value;
  find("#score-value").textContent = least.toFixed(2);
  const passes = (one) => !off.has(one.class_name) && (one.score === null || one.score >= least)
    && (which === "all" || one.verdict === (which === "open" ? "" : which));
  const passing = [...found.values()].filter(passes);
  shown = passing.map((one) => one.id);
  wall.show(passing);
  if (current !== null && shown.includes(current)) wall.choose(current);
}

function count() {
  const said = [...found.values()].map((one) => one.verdict);
  const of = (verdict) => said.filter((one) => one === verdict).length;
  find("#counts").textContent = `${of("yes")} yes, ${of("no")} no, ${of("")} to judge`;
  for (const verdict of ["yes", "no"]) find(`#judged .${verdict}`).style.flexGrow = of(verdict);
  find("#judged").style.setProperty("--open", of("") || Number(!found.size));
  find("#shown").textContent = `${shown.length} of ${found.size} shown`;
}

function showUndo(what) {
  find("#undo").disabled = !what;
  find("#undo").title = what ? `Take back: ${what} (U)` : "Nothing to take back";
}

function showAreas(rings) {
  tools.setAreas(rings);
  find("#areas").replaceChildren(...rings.map((ring, i) => {
    const pair = part("area", ""), go = document.createElement("button"), remove = document.createElement("button");
    Object.assign(go, { type: "button", textContent: `area ${i + 1}`, title: "Go to this area" });
    Object.assign(remove, { type: "button", textContent: "×", title: "Remove this area", ariaLabel: `remove area ${i + 1}` });
    go.addEventListener("click", () => tools.goToArea(ring));
    remove.addEventListener("click", () => change("erase", { area: i }));
    pair.append(go, remove);
    return pair;
  }));
}

/** Shows a message until the next change, or until it is clicked where it stays. */
function say(text, { good = false, stays = false } = {}) {
  const message = find("#message");
  if (!text && message.dataset.stays === "true") return;
  message.dataset.stays = stays;
  message.title = stays ? "Click to close" : "";
  find("#message").textContent = text;
  find("#message").classList.toggle("good", good);
  find("#message").hidden = !text;
}

// ---- the one that keys are about ----

function choose(id, go = true) {
  current = id;
  wall.choose(id);
  scene.select(id);
  const one = found.get(id);
  find("#selected").hidden = !one;
  find("#erase").disabled = !one || one.score !== null;
  if (!one) return;
  tell(one);
  if (go) scene.goTo(one.box_xyxy_px);
}

function tell(one) {
  const sides = one.box_xyxy_px.map((side) => side.toFixed(1)).join(", ");
  const score = one.score === null ? "drawn" : `score ${one.score.toFixed(3)}`;
  find("#selected").textContent = `${one.class_name}, ${score}, box ${sides} px`;
}

function nextOpen(position) {
  for (let n = 1; n <= shown.length; n++) {
    const id = shown[(position + n) % shown.length];
    if (found.get(id).verdict === "") return id;
  }
  return null;
}

function judge(verdict) {
  if (current === null) return;
  const id = current, before = found.get(id), one = { ...before, verdict };
  const put = (now) => { found.set(id, now); wall.update(now); scene.restyle(); count(); };
  put(one);
  change("judge", { id, verdict }).then((answer) => { if (answer === null && found.get(id) === one) put(before); });
  choose(nextOpen(shown.indexOf(id)) ?? id);
}

const step = (by) => { if (shown.length) choose(shown[Math.min(Math.max(shown.indexOf(current) + by, 0), shown.length - 1)]); };
const skip = () => { const next = nextOpen(shown.indexOf(current)); if (next !== null) choose(next); };

async function undo() {
  const answer = await change("undo", {});
  const id = answer && Object.keys(answer.changed)[0];
  if (id && found.has(Number(id))) choose(Number(id));
}

function draw(what) {
  tools.drawing = tools.drawing === what ? null : what;
  find("#draw").setAttribute("aria-pressed", tools.drawing === "box");
  find("#area").setAttribute("aria-pressed", tools.drawing === "area");
}

function erase() {
  if (current !== null && found.get(current).score === null) change("erase", { id: current });
}

// ---- what the user does ----

const keys = {
  y: () => judge("yes"), n: () => judge("no"), s: skip, " ": skip, u: undo, z: undo, d: () => draw("box"), a: () => draw("area"),
  Escape: () => draw(null), Delete: erase, "+": () => scene.zoomBy(1.5), "=": () => scene.zoomBy(1.5),
  "-": () => scene.zoomBy(1 / 1.5), "0": () => scene.showAll(),
  ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => step(-wall.columns()), ArrowDown: () => step(wall.columns()),
};
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox], [type=range]), select, textarea")
    || event.target.closest("input[type=range]") && event.key.startsWith("Arrow");
  if (typing || event.altKey || (event.ctrlKey || event.metaKey) && event.key !== "z") return;
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || scene === null) return;
  event.preventDefault();
  act();
});
for (const [id, act] of Object.entries({
  yes: keys.y, no: keys.n, skip, undo, draw: keys.d, area: keys.a, erase,
  "zoom-in": keys["+"], "zoom-out": keys["-"], "zoom-all": keys["0"],
})) {
  find(`#${id}`).addEventListener("click", (event) => { act(); event.currentTarget.blur(); });
}
for (const id of ["#classes", "#score", "#which"]) {
  find(id).addEventListener("input", () => { filter(); count(); if (!shown.includes(current)) choose(nextOpen(-1) ?? shown[0] ?? null); });
}
// once something is chosen, keys judge again
for (const id of ["#score", "#which", "#light"]) find(id).addEventListener("change", (event) => event.target.blur());
find("#draw-class").addEventListener("keydown", (event) => {
  if (["Enter", "Escape"].includes(event.key)) { event.preventDefault(); event.stopPropagation(); event.target.blur(); }
});
find("#message").addEventListener("click", (event) => { event.currentTarget.dataset.stays = "false"; say(""); });
find("#light").addEventListener("input", (event) => {
  document.documentElement.style.setProperty("--light", event.target.value);
});
window.addEventListener("focus", () => catchUp().catch((error) => say(error.message)));
window.addEventListener("beforeunload", (event) => { if (pending) event.preventDefault(); });

const learning = learningPanel(ask, say, () => shownLayer, load);
load().then(() => learning.watch()).catch((error) => say(error.message));
