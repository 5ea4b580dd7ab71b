// What the mouse does on the map: choose a box, drag its edges and corners, draw a missed object, go round an area.

const REACH_PX = 8; // how near to an edge on the screen the pointer takes hold of it
const AREA_COLOUR = "#ffffff";

/**
 * @param scene of sceneMap
 * @param chosen () => {id, box} of the box that can be mended, or null
 * @param told {choose(id), mend(id, box), draw(box), area(ring)}
 */
export function mapTools(scene, chosen, told) {
  const { map, view, toBox } = scene;
  const areas = new ol.VectorSource();
  const line = new ol.Style({ stroke: new ol.Stroke({ color: AREA_COLOUR, width: 2, lineDash: [2, 6] }) });
  map.addLayer(new ol.VectorLayer({ source: areas, style: line }));

  // ---- drawing ----

  const pen = new ol.Style({ stroke: new ol.Stroke({ color: "#ffffff", width: 2 }), fill: new ol.Fill({ color: "rgba(255, 255, 255, 0.15)" }) });
  const box = new ol.Draw({ type: "Circle", freehand: true, geometryFunction: ol.createBox(), style: pen });
  const area = new ol.Draw({ type: "Polygon", style: pen });
  for (const tool of [box, area]) {
    tool.setActive(false);
    map.addInteraction(tool);
  }
  box.on("drawend", (event) => told.draw(toBox(event.feature.getGeometry().getExtent())));
  area.on("drawend", (event) => told.area(event.feature.getGeometry().getCoordinates()[0].slice(0, -1).map(([x, y]) => [x, -y])));

  // ---- mending ----

  let held = null; // {id, box, sides: positions in the box that follow the pointer}

  function grip(pixel) {
    const now = chosen();
    if (!now || box.getActive() || area.getActive()) return null;
    const [x1, y1, x2, y2] = now.box;
    const [left, top] = map.getPixelFromCoordinate([x1, -y1]), [right, bottom] = map.getPixelFromCoordinate([x2, -y2]);
    const [x, y] = pixel;
    if (x < left - REACH_PX || x > right + REACH_PX || y < top - REACH_PX || y > bottom + REACH_PX) return null;
    // half of a small box is left to choose it by
    const reachX = Math.min(REACH_PX, (right - left) / 4), reachY = Math.min(REACH_PX, (bottom - top) / 4);
    const sides = [];
    if (x < left + reachX) sides.push(0); else if (x > right - reachX) sides.push(2);
    if (y < top + reachY) sides.push(1); else if (y > bottom - reachY) sides.push(3);
    return sides.length ? { id: now.id, box: [...now.box], sides } : null;
  }

  function cursor(sides) {
    const across = sides.some((side) => side % 2 === 0), down = sides.some((side) => side % 2 === 1);
    if (!(across && down)) return across ? "ew-resize" : "ns-resize";
    return sides.includes(0) === sides.includes(1) ? "nwse-resize" : "nesw-resize";
  }

  map.addInteraction(new ol.PointerInteraction({
    handleDownEvent(event) {
      held = grip(event.pixel);
      return held !== null;
    },
    handleDragEvent(event) {
      held.moved = true;
      for (const side of held.sides) held.box[side] = side % 2 ? -event.coordinate[1] : event.coordinate[0];
      scene.setBox(held.id, upright(held.box));
    },
    handleUpEvent() {
      if (held.moved) told.mend(held.id, upright(held.box)); // a click alone says nothing of the outline
      held = null;
      return false;
    },
    handleMoveEvent(event) {
      const there = grip(event.pixel);
      map.getTargetElement().style.cursor = there ? cursor(there.sides) : "";
    },
  }));

  map.on("click", (event) => {
    if (box.getActive() || area.getActive()) return;
    const id = scene.under(event.coordinate);
    if (id !== null) told.choose(id);
  });

  return {
    /** Which of "box" and "area" is being drawn; null for neither. */
    set drawing(what) {
      box.setActive(what === "box");
      area.setActive(what === "area");
      map.getTargetElement().classList.toggle("drawing", what !== null);
    },
    get drawing() { return box.getActive() ? "box" : area.getActive() ? "area" : null; },

    setAreas(rings) {
      areas.clear();
      areas.addFeatures(rings.map((ring) => new ol.Feature(new ol.Polygon([ring.map(([x, y]) => [x, -y])]))));
    },

    goToArea(ring) {
      const xs = ring.map(([x]) => x), ys = ring.map(([, y]) => -y);
      view.fit([Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)], { padding: [40, 40, 40, 40] });
    },
  };
}

const upright = ([x1, y1, x2, y2]) => [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
