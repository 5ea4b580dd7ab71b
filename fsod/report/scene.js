// Shows detections over the picture of a scene, on the map that sceneMap makes. Detections come from the best to the worst, so
// that a least score is a prefix, and the list has rows for what can be seen of it only.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const [width, height] = data.size_px;
  const { boxes, scores, classes, lonlat } = data;
  const find = (selector) => document.querySelector(selector);
  const slider = find("#score");
  const list = find("#list");
  const rows = find("#rows");
  const classBoxes = [...document.querySelectorAll("input[data-class]")];
  const names = classBoxes.map((box) => box.dataset.name);
  const colours = classBoxes.map((box) => box.dataset.colour);

  const ROW_PX = 26; // as in page.css

  const isShown = new Array(scores.length).fill(true);
  let shown = []; // positions of the detections that pass the filters, best first
  let selected = -1;
  let asked = false;

  // ---- filters ----

  function countAbove(score) {
    let low = 0, high = scores.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (scores[middle] >= score) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function filter() {
    const score = Number(slider.value);
    const passing = countAbove(score);
    const on = classBoxes.map((box) => box.checked);
    const counts = new Array(names.length).fill(0);
    shown = [];
    for (let i = 0; i < passing; i++) {
      counts[classes[i]]++;
      if (on[classes[i]]) shown.push(i);
    }
    if (selected >= 0 && !shown.includes(selected)) select(-1);
    find("#score-value").textContent = score.toFixed(2);
    find("#count").textContent = `${shown.length} of ${scores.length} shown`;
    classBoxes.forEach((box, c) => { box.closest("label").querySelector(".count").textContent = counts[c]; });
    rows.style.height = `${shown.length * ROW_PX}px`;
    list.scrollTop = 0;
    isShown.fill(false);
    for (const i of shown) isShown[i] = true;
    scene.restyle();
    redrawRows();
  }

  // ---- the map ----

  const styleOf = (i, chosen) => isShown[i] ? { colour: chosen ? "#ffffff" : colours[classes[i]], dash: false, wide: chosen } : null;
  const onZoom = (zoom) => { find("#zoom-value").textContent = `${(zoom * 100).toFixed(zoom < 0.1 ? 1 : 0)} %`; };
  const scene = sceneMap(find("#map"), [width, height], { image: find("#picture").src }, styleOf, onZoom);
  const boxOf = (i) => boxes.slice(4 * i, 4 * i + 4);
  scene.setBoxes(scores.map((_, i) => [i, boxOf(i)]).reverse()); // the best lie on top

  function redrawRows() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; drawRows(); });
  }

  function position(i) {
    if (lonlat && lonlat[2 * i] !== null) {
      const [lon, lat] = [lonlat[2 * i], lonlat[2 * i + 1]];
      return `${Math.abs(lat).toFixed(6)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(6)}° ${lon < 0 ? "W" : "E"}`;
    }
    const x = (boxes[4 * i] + boxes[4 * i + 2]) / 2, y = (boxes[4 * i + 1] + boxes[4 * i + 3]) / 2;
    return `x ${x.toFixed(1)}, y ${y.toFixed(1)} px`;
  }

  function cell(kind, text) {
    const part = document.createElement("span");
    part.className = kind;
    part.textContent = text;
    return part;
  }

  function drawRows() {
    const first = Math.max(Math.floor(list.scrollTop / ROW_PX) - 5, 0);
    const last = Math.min(Math.ceil((list.scrollTop + list.clientHeight) / ROW_PX) + 5, shown.length);
    const made = [];
    for (let n = first; n < last; n++) {
      const i = shown[n];
      const row = document.createElement("button");
      row.type = "button";
      row.className = i === selected ? "row selected" : "row";
      row.style.top = `${n * ROW_PX}px`;
      row.dataset.detection = i;
      const swatch = cell("swatch", "");
      swatch.style.background = colours[classes[i]];
      row.append(swatch, cell("name", names[classes[i]]), cell("score", scores[i].toFixed(2)), cell("where", position(i)));
      made.push(row);
    }
    rows.replaceChildren(...made);
  }

  function select(i) {
    selected = i;
    const about = find("#selected");
    about.hidden = i < 0;
    if (i >= 0) {
      const box = boxOf(i).map((side) => side.toFixed(1)).join(", ");
      about.textContent = `${names[classes[i]]}, score ${scores[i].toFixed(3)}, ${position(i)}, box ${box} px`;
    }
    scene.select(i);
    redrawRows();
  }

  // ---- what the user does ----

  slider.addEventListener("input", filter);
  classBoxes.forEach((box) => box.addEventListener("change", filter));
  for (const [id, checked] of [["#all", true], ["#none", false]]) {
    find(id).addEventListener("click", () => { classBoxes.forEach((box) => { box.checked = checked; }); filter(); });
  }
  find("#zoom-in").addEventListener("click", () => scene.zoomBy(1.5));
  find("#zoom-out").addEventListener("click", () => scene.zoomBy(1 / 1.5));
  find("#zoom-all").addEventListener("click", scene.showAll);
  scene.map.on("click", (event) => {
    const i = scene.under(event.coordinate) ?? -1;
    select(i);
    if (i >= 0) list.scrollTop = Math.max(shown.indexOf(i) * ROW_PX - list.clientHeight / 2, 0);
  });
  const keys = {
    "+": () => scene.zoomBy(1.5), "=": () => scene.zoomBy(1.5), "-": () => scene.zoomBy(1 / 1.5), "0": scene.showAll,
    ArrowLeft: () => scene.pan(80, 0), ArrowRight: () => scene.pan(-80, 0),
    ArrowUp: () => scene.pan(0, 80), ArrowDown: () => scene.pan(0, -80),
  };
  find("#map").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  list.addEventListener("scroll", redrawRows);
  rows.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (!row) return;
    select(Number(row.dataset.detection));
    scene.goTo(boxOf(Number(row.dataset.detection)));
  });
  window.addEventListener("resize", redrawRows);

  filter();
  scene.showAll();
})();
