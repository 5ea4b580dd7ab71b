// Shows detections over the picture of a scene. Detections come from the best to the worst, so that a least score is a
// prefix; drawing skips what lies outside the view, and the list has rows for what can be seen of it only.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const [width, height] = data.size_px;
  const { boxes, scores, classes, lonlat } = data;
  const find = (selector) => document.querySelector(selector);
  const canvas = find("#map");
  const ctx = canvas.getContext("2d");
  const picture = find("#picture");
  const slider = find("#score");
  const list = find("#list");
  const rows = find("#rows");
  const classBoxes = [...document.querySelectorAll("input[data-class]")];
  const names = classBoxes.map((box) => box.dataset.name);
  const colours = classBoxes.map((box) => box.dataset.colour);

  const ROW_PX = 26; // as in page.css
  const SMALLEST_PX = 4; // an object of a pixel or two must still be seen
  const MANY = 5000; // detections in view, above which drawing must be quick
  const FARTHEST = 0.5, NEAREST = 64; // of the whole scene in the window; screen pixels a pixel

  let view = { x: 0, y: 0, zoom: 1 }; // scene pixel in the top left corner, screen pixels a scene pixel
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
    redraw();
  }

  // ---- view ----

  const wholeScene = () => Math.min(canvas.clientWidth / width, canvas.clientHeight / height);

  function show(next) {
    const zoom = Math.min(Math.max(next.zoom, wholeScene() * FARTHEST), NEAREST);
    // the middle of the window stays on the scene, so that nobody gets lost
    const halfX = canvas.clientWidth / 2 / zoom, halfY = canvas.clientHeight / 2 / zoom;
    view = {
      zoom,
      x: Math.min(Math.max(next.x, -halfX), width - halfX),
      y: Math.min(Math.max(next.y, -halfY), height - halfY),
    };
    find("#zoom-value").textContent = `${(view.zoom * 100).toFixed(view.zoom < 0.1 ? 1 : 0)} %`;
    redraw();
  }

  function showAll() {
    const zoom = wholeScene();
    show({ zoom, x: (width - canvas.clientWidth / zoom) / 2, y: (height - canvas.clientHeight / zoom) / 2 });
  }

  function zoomAt(x, y, factor) {
    const zoom = Math.min(Math.max(view.zoom * factor, wholeScene() * FARTHEST), NEAREST);
    show({ zoom, x: view.x + x / view.zoom - x / zoom, y: view.y + y / view.zoom - y / zoom });
  }

  const zoomMiddle = (factor) => zoomAt(canvas.clientWidth / 2, canvas.clientHeight / 2, factor);
  const pan = (dx, dy) => show({ zoom: view.zoom, x: view.x - dx / view.zoom, y: view.y - dy / view.zoom });

  function goTo(i) {
    const [x1, y1, x2, y2] = boxes.slice(4 * i, 4 * i + 4);
    const side = Math.max(x2 - x1, y2 - y1, 1);
    const zoom = Math.max(view.zoom, Math.min(canvas.clientWidth, canvas.clientHeight) / side / 8);
    const near = Math.min(zoom, NEAREST);
    show({
      zoom: near,
      x: (x1 + x2) / 2 - canvas.clientWidth / 2 / near,
      y: (y1 + y2) / 2 - canvas.clientHeight / 2 / near,
    });
  }

  // ---- drawing ----

  function redraw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(); drawRows(); });
  }

  function place(i) {
    let left = (boxes[4 * i] - view.x) * view.zoom, top = (boxes[4 * i + 1] - view.y) * view.zoom;
    let w = (boxes[4 * i + 2] - boxes[4 * i]) * view.zoom, h = (boxes[4 * i + 3] - boxes[4 * i + 1]) * view.zoom;
    if (w < SMALLEST_PX) { left -= (SMALLEST_PX - w) / 2; w = SMALLEST_PX; }
    if (h < SMALLEST_PX) { top -= (SMALLEST_PX - h) / 2; h = SMALLEST_PX; }
    return [left, top, w, h];
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const w = canvas.clientWidth, h = canvas.clientHeight;
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
      canvas.width = Math.round(w * ratio);
      canvas.height = Math.round(h * ratio);
    }
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, w, h);
    ctx.imageSmoothingEnabled = view.zoom * width / picture.naturalWidth < 3;
    ctx.drawImage(picture, -view.x * view.zoom, -view.y * view.zoom, width * view.zoom, height * view.zoom);
    const seen = [];
    for (const i of shown) {
      const box = place(i);
      if (box[0] < w && box[1] < h && box[0] + box[2] > 0 && box[1] + box[3] > 0) seen.push([classes[i], box]);
    }
    // the best lie on top, on a dark casing where there is room for one
    const many = seen.length > MANY;
    if (!many) {
      ctx.lineWidth = 4;
      ctx.strokeStyle = "rgba(0, 0, 0, 0.55)";
      for (const [, box] of seen) ctx.strokeRect(...box);
    }
    ctx.lineWidth = many ? 1.5 : 2;
    let last = -1;
    for (let n = seen.length - 1; n >= 0; n--) {
      const [c, box] = seen[n];
      if (c !== last) { ctx.strokeStyle = ctx.fillStyle = colours[c]; last = c; }
      if (many && box[2] < 6 && box[3] < 6) ctx.fillRect(...box); // quicker than an outline
      else ctx.strokeRect(...box);
    }
    if (selected >= 0) {
      const [left, top, boxW, boxH] = place(selected);
      ctx.lineWidth = 3;
      ctx.strokeStyle = "#ffffff";
      ctx.setLineDash([6, 4]);
      ctx.strokeRect(left - 4, top - 4, boxW + 8, boxH + 8);
      ctx.setLineDash([]);
    }
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
      const box = boxes.slice(4 * i, 4 * i + 4).map((side) => side.toFixed(1)).join(", ");
      about.textContent = `${names[classes[i]]}, score ${scores[i].toFixed(3)}, ${position(i)}, box ${box} px`;
    }
    redraw();
  }

  /** The smallest detection that is shown under a place on the screen, -1 for none: a large box must not hide a small one. */
  function under(x, y) {
    let best = -1, least = Infinity;
    for (const i of shown) {
      const [left, top, w, h] = place(i);
      if (x >= left - 2 && x <= left + w + 2 && y >= top - 2 && y <= top + h + 2 && w * h < least) {
        best = i;
        least = w * h;
      }
    }
    return best;
  }

  // ---- what the user does ----

  slider.addEventListener("input", filter);
  classBoxes.forEach((box) => box.addEventListener("change", filter));
  for (const [id, checked] of [["#all", true], ["#none", false]]) {
    find(id).addEventListener("click", () => { classBoxes.forEach((box) => { box.checked = checked; }); filter(); });
  }
  find("#zoom-in").addEventListener("click", () => zoomMiddle(1.5));
  find("#zoom-out").addEventListener("click", () => zoomMiddle(1 / 1.5));
  find("#zoom-all").addEventListener("click", showAll);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const rect = canvas.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 30 : 1; // Firefox counts lines
    zoomAt(event.clientX - rect.left, event.clientY - rect.top, Math.exp(-event.deltaY * lines * 0.002));
  }, { passive: false });

  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, y: event.clientY, moved: 0 };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    drag = { x: event.clientX, y: event.clientY, moved: drag.moved + Math.abs(dx) + Math.abs(dy) };
    pan(dx, dy);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (drag && drag.moved < 4) {
      const rect = canvas.getBoundingClientRect();
      const i = under(event.clientX - rect.left, event.clientY - rect.top);
      select(i);
      if (i >= 0) list.scrollTop = Math.max(shown.indexOf(i) * ROW_PX - list.clientHeight / 2, 0);
    }
    drag = null;
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  const keys = {
    "+": () => zoomMiddle(1.5), "=": () => zoomMiddle(1.5), "-": () => zoomMiddle(1 / 1.5), "0": showAll,
    ArrowLeft: () => pan(80, 0), ArrowRight: () => pan(-80, 0), ArrowUp: () => pan(0, 80), ArrowDown: () => pan(0, -80),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  list.addEventListener("scroll", redraw);
  rows.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (!row) return;
    select(Number(row.dataset.detection));
    goTo(Number(row.dataset.detection));
  });
  window.addEventListener("resize", () => show(view));

  picture.decode().then(() => { showAll(); filter(); });
})();
