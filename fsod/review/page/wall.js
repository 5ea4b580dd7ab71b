// The wall: a chip for each detection, in the order in which verdicts teach most. Chips are made as they come near.

const MARGIN = 1.9; // of a chip's side to that of its box
const LEAST_PX = 48; // of the scene, along a chip's side
const CHIP_PX = 240; // of its picture, twice what is shown
const AT_ONCE = 200;

export class Wall {
  /** @param element that holds the chips; @param colourOf class name -> colour; @param onChoose is told the id of a chip that was clicked */
  constructor(element, colourOf, onChoose) {
    this.element = element;
    this.colourOf = colourOf;
    this.chips = new Map();
    this.waiting = [];
    element.addEventListener("click", (event) => {
      const chip = event.target.closest(".chip");
      if (chip) onChoose(Number(chip.dataset.id));
    });
    this.end = document.createElement("div");
    new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) this.more(); },
      { root: element, rootMargin: "600px" }).observe(this.end);
  }

  /** Shows these detections, in this order. */
  show(found) {
    this.chips.clear();
    this.waiting = [...found];
    this.element.replaceChildren(this.end);
    this.element.scrollTop = 0;
    this.more();
  }

  more() {
    for (const one of this.waiting.splice(0, AT_ONCE)) this.element.insertBefore(this.make(one), this.end);
  }

  make(one) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.dataset.id = one.id;
    this.chips.set(one.id, chip);
    this.fill(chip, one);
    return chip;
  }

  /** Brings a chip up to date with its detection. */
  update(one) {
    const chip = this.chips.get(one.id);
    if (chip) this.fill(chip, one);
  }

  /** Puts a detection before all others, as what was just drawn. */
  first(one) { this.element.prepend(this.make(one)); }

  remove(id) {
    this.chips.get(id)?.remove();
    this.chips.delete(id);
    this.waiting = this.waiting.filter((one) => one.id !== id);
  }

  /** Marks the chip that keys are about, and brings it into view. */
  choose(id) {
    this.element.querySelector(".current")?.classList.remove("current");
    while (id !== null && !this.chips.has(id) && this.waiting.length) this.more();
    const chip = this.chips.get(id);
    chip?.classList.add("current");
    chip?.scrollIntoView({ block: "nearest" });
  }

  /** How many chips stand in a row. */
  columns() {
    const tops = [...this.chips.values()].slice(0, 40).map((chip) => chip.offsetTop);
    return Math.max(tops.findIndex((top) => top > tops[0]), 1);
  }

  fill(chip, one) {
    const [x1, y1, x2, y2] = one.box_xyxy_px;
    const side = Math.max(Math.ceil(Math.max(x2 - x1, y2 - y1) * MARGIN), LEAST_PX);
    const left = Math.round((x1 + x2 - side) / 2), top = Math.round((y1 + y2 - side) / 2);
    const url = `piece/${left},${top},${left + side},${top + side}/${CHIP_PX}.jpg`;
    chip.className = ["chip", one.verdict, chip.classList.contains("current") ? "current" : ""].filter(Boolean).join(" ");
    chip.setAttribute("aria-label", `${one.class_name}, ${one.verdict || "not judged"}`);
    if (chip.dataset.url !== url) {
      chip.dataset.url = url;
      const picture = part("picture", "");
      const image = document.createElement("img");
      image.loading = "lazy";
      image.fetchPriority = "low"; // the map comes first
      image.alt = "";
      image.src = url;
      const outline = part("outline", "");
      const share = (length) => `${100 * length / side}%`;
      Object.assign(outline.style, { left: share(x1 - left), top: share(y1 - top), width: share(x2 - x1), height: share(y2 - y1) });
      picture.append(image, outline);
      chip.replaceChildren(picture, part("about", ""));
    }
    chip.querySelector(".outline").style.borderColor = this.colourOf(one.class_name);
    const score = one.score === null ? "drawn" : one.score.toFixed(2);
    chip.querySelector(".about").replaceChildren(part("class", one.class_name), part("verdict", one.verdict), part("score", score));
  }
}

export function part(kind, text) {
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = text;
  return span;
}
