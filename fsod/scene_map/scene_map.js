// A scene with boxes on it, over OpenLayers (the global ol). The scene's pixels have y downwards, as boxes do; the map
// counts upwards, so its y is negative.
"use strict";

/**
 * @param target element that holds the map
 * @param sizePx columns and rows of the scene
 * @param ground what lies below: {tileUrl: (left, top, right, bottom, sidePx) => URL} in pixels of the scene, or {image: URL}
 * @param styleOf (id, selected) => {colour, dash, wide}, how a box is drawn; null hides it
 * @param onZoom is told how many pixels of the screen show one of the scene, whenever that changes
 */
function sceneMap(target, sizePx, ground, styleOf, onZoom) {
  const [width, height] = sizePx;
  const extent = [0, -height, width, 0];
  const TILE_PX = 256, NEAREST = 1 / 64, LINE_PX = 1.5, SMALLEST_PX = 4, MANY = 5000;
  const projection = new ol.Projection({ code: "scene", units: "pixels", extent });
  const toExtent = ([x1, y1, x2, y2]) => [x1, -y2, x2, -y1];
  const toBox = ([x1, y1, x2, y2]) => [x1, -y2, x2, -y1];

  function tiles() {
    const resolutions = [];
    for (let r = 1; resolutions.length === 0 || r / 2 * TILE_PX < Math.max(width, height); r *= 2) resolutions.unshift(r);
    const grid = new ol.TileGrid({ extent, origin: [0, 0], resolutions, tileSize: TILE_PX });
    const tileUrlFunction = ([z, x, y]) => {
      const side = TILE_PX * resolutions[z];
      return ground.tileUrl(x * side, y * side, (x + 1) * side, (y + 1) * side, TILE_PX);
    };
    const source = new ol.TileImage({ projection, tileGrid: grid, tileUrlFunction, transition: 0 });
    return new ol.TileLayer({ extent, source });
  }

  function image() {
    const source = new ol.ImageStatic({ url: ground.image, imageExtent: extent, projection });
    return new ol.ImageLayer({ source });
  }

  // ---- boxes ----

  let selected = null;
  const source = new ol.VectorSource();
  const stroke = (color, width, lineDash) => new ol.Style({ stroke: new ol.Stroke({ color, width, lineDash }) });
  const styles = new Map();

  /** Lines with a dark casing, so that they show on any ground; kept, as thousands of boxes share a few styles. */
  function lines({ colour, dash, wide }, many) {
    const key = `${colour} ${dash} ${wide} ${many}`;
    if (!styles.has(key)) {
      const thick = wide ? 2 * LINE_PX : LINE_PX;
      const casing = many ? [] : [stroke("rgba(0, 0, 0, 0.55)", thick + 2)];
      styles.set(key, [...casing, stroke(colour, thick, dash ? [6, 5] : undefined)]);
    }
    return styles.get(key);
  }

  function style(feature, resolution) {
    const box = feature.get("box");
    const wanted = styleOf(feature.getId(), feature.getId() === selected);
    if (wanted === null) return null;
    const least = SMALLEST_PX * resolution; // an object of a pixel or two must still be seen
    const small = box[2] - box[0] < least || box[3] - box[1] < least;
    const drawn = lines(wanted, source.getFeatures().length > MANY);
    if (!small) return drawn;
    const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    const half = [Math.max(box[2] - box[0], least) / 2, Math.max(box[3] - box[1], least) / 2];
    const shape = ol.rectangle(toExtent([x - half[0], y - half[1], x + half[0], y + half[1]]));
    return drawn.map((one) => { const copy = one.clone(); copy.setGeometry(shape); return copy; });
  }

  const boxes = new ol.VectorLayer({ source, style, updateWhileInteracting: false });
  const view = new ol.View({
    projection, extent, constrainOnlyCenter: true, showFullExtent: true, smoothExtentConstraint: false,
    center: ol.getCenter(extent), resolution: 1, minResolution: NEAREST,
    maxResolution: 2 * Math.max(width / 200, height / 200, 1), enableRotation: false,
  });
  const interactions = ol.interactions({
    altShiftDragRotate: false, pinchRotate: false, doubleClickZoom: false, dragPan: false, keyboard: false, mouseWheelZoom: false,
  });
  const map = new ol.Map({ target, layers: [ground.tileUrl ? tiles() : image(), boxes], view, controls: [], interactions });
  map.addInteraction(new ol.DragPan({})); // which stops where it is let go
  map.getViewport().addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1; // Firefox counts lines
    view.adjustResolution(Math.exp(event.deltaY * lines * 0.002), map.getEventCoordinate(event));
  }, { passive: false });

  view.on("change:resolution", () => onZoom(1 / view.getResolution()));

  function makeFeature(id, box) {
    const feature = new ol.Feature({ geometry: ol.rectangle(toExtent(box)), box });
    feature.setId(id);
    return feature;
  }

  return {
    map, view, toBox, toExtent,

    /** Shows these boxes, [id, [x1, y1, x2, y2]] each, and no others; later ones lie on top. */
    setBoxes(list) {
      source.clear(true);
      source.addFeatures(list.map(([id, box]) => makeFeature(id, box)));
    },

    /** Puts a box in place of the one of this id; null takes it away. */
    setBox(id, box) {
      const old = source.getFeatureById(id);
      if (old) source.removeFeature(old);
      if (box) source.addFeature(makeFeature(id, box));
    },

    /** Draws all boxes anew, as what ``styleOf`` says of them has changed. */
    restyle() { boxes.changed(); },

    select(id) { selected = id; boxes.changed(); },

    /** Id of the smallest box that is shown at a place of the map, null for none: a large one must not hide a small one. */
    under(coordinate) {
      const slack = 3 * view.getResolution(), [x, y] = coordinate;
      let best = null, least = Infinity;
      source.forEachFeatureInExtent([x - slack, y - slack, x + slack, y + slack], (feature) => {
        const [x1, y1, x2, y2] = feature.get("box");
        const area = (x2 - x1) * (y2 - y1);
        if (area < least && styleOf(feature.getId(), false) !== null) { best = feature.getId(); least = area; }
      });
      return best;
    },

    /** Brings a box into the middle: near enough to be seen, and as a whole. */
    goTo([x1, y1, x2, y2]) {
      const share = Math.max(x2 - x1, y2 - y1, 1) / Math.min(...(map.getSize() || [1]));
      view.setResolution(Math.max(Math.min(Math.max(view.getResolution(), 2 * share), 8 * share), NEAREST));
      view.setCenter([(x1 + x2) / 2, -(y1 + y2) / 2]);
    },

    showAll() { view.fit(extent); },

    zoomBy(factor) { view.adjustResolution(1 / factor); },

    /** Moves the scene by so many pixels of the screen. */
    pan(dx, dy) {
      const [x, y] = view.getCenter(), r = view.getResolution();
      view.setCenter([x - dx * r, y + dy * r]);
    },
  };
}
