// What the pages use of OpenLayers; the bundle is made of this file, see README.md of this folder.
export { default as Feature } from "ol/Feature.js";
export { default as Map } from "ol/Map.js";
export { default as View } from "ol/View.js";
export { getCenter } from "ol/extent.js";
export { fromExtent as rectangle, default as Polygon } from "ol/geom/Polygon.js";
export { default as Draw, createBox } from "ol/interaction/Draw.js";
export { default as PointerInteraction } from "ol/interaction/Pointer.js";
export { default as ImageLayer } from "ol/layer/Image.js";
export { default as TileLayer } from "ol/layer/Tile.js";
export { default as VectorLayer } from "ol/layer/Vector.js";
export { default as Projection } from "ol/proj/Projection.js";
export { default as ImageStatic } from "ol/source/ImageStatic.js";
export { default as TileImage } from "ol/source/TileImage.js";
export { default as VectorSource } from "ol/source/Vector.js";
export { default as Fill } from "ol/style/Fill.js";
export { default as Stroke } from "ol/style/Stroke.js";
export { default as Style } from "ol/style/Style.js";
export { default as TileGrid } from "ol/tilegrid/TileGrid.js";
