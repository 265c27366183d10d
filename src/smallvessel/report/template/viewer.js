// The viewer: one sequence at a time in three planes, the markers as coloured layers over it, a crosshair that goes to lesions.
// Everything it shows is in this page: images and lesions' labels as gzipped NIfTI in base64, their numbers as JSON.
"use strict";

const session = JSON.parse(document.getElementById("session").textContent);
const canvas = document.getElementById("canvas");
const keyOf = (lesion) => `${lesion.marker}-${lesion.label}`;
const lesionByKey = new Map(session.lesions.map((lesion) => [keyOf(lesion), lesion]));

const viewer = {
  nv: null,
  images: new Map(), // sequence to its image, once it was shown
  masks: new Map(), // marker to its layer
  labels: new Map(), // marker to the lesions' numbers, voxel by voxel of its layer
  shown: session.reference,
  asked: 0, // how often a sequence was asked for: the last one counts, though an earlier one may take longer to unpack
  opacity: 0.5,
};

function rgb(hex) {
  return [1, 3, 5].map((start) => Number.parseInt(hex.slice(start, start + 2), 16));
}

function embedded(kind, name) {
  const element = document.getElementById(`${kind}-${name}`);
  return element ? element.textContent.trim() : null;
}

async function loadImage(name) {
  const about = session.images.find((image) => image.name === name);
  const image = await niivue.NVImage.loadFromBase64({ base64: embedded("image", name), name: `${name}.nii.gz`, colormap: "gray" });
  image.cal_min = about.black;
  image.cal_max = about.white;
  return image;
}

// A layer is 255 inside lesions, so that its edge is drawn half way to the neighbours, whatever a lesion's number is.
async function loadMask(marker) {
  const [r, g, b] = rgb(marker.colour);
  viewer.nv.addColormap(marker.name, { R: [r, r, r, r], G: [g, g, g, g], B: [b, b, b, b], A: [0, 0, 255, 255], I: [0, 127, 128, 255] });
  const mask = await niivue.NVImage.loadFromBase64({
    base64: embedded("mask", marker.name), name: `${marker.name}.nii.gz`, colormap: marker.name, opacity: viewer.opacity,
  });
  viewer.labels.set(marker.name, mask.img);
  const layer = new Uint8Array(mask.img.length); // Uint8Array.from with a function takes twenty times as long
  for (let i = 0; i < layer.length; i++) if (mask.img[i] > 0) layer[i] = 255;
  mask.img = layer;
  mask.hdr.datatypeCode = 2;
  mask.hdr.numBitsPerVoxel = 8;
  mask.cal_min = mask.global_min = mask.robust_min = 0;
  mask.cal_max = mask.global_max = mask.robust_max = 255;
  return mask;
}

function crosshairMm() {
  const mm = viewer.nv.frac2mm(viewer.nv.scene.crosshairPos, 0, true);
  return [mm[0], mm[1], mm[2]];
}

function moveTo(mm) {
  viewer.nv.scene.crosshairPos = viewer.nv.mm2frac(mm, 0, true);
  viewer.nv.createOnLocationChange();
  viewer.nv.drawScene();
}

async function showSequence(name) {
  const turn = ++viewer.asked;
  if (!viewer.images.has(name)) viewer.images.set(name, await loadImage(name));
  if (turn !== viewer.asked) return false;
  const mm = viewer.nv.volumes.length ? crosshairMm() : null;
  viewer.nv.volumes = [viewer.images.get(name), ...viewer.masks.values()];
  viewer.nv.back = viewer.nv.volumes[0];
  viewer.nv.overlays = viewer.nv.volumes.slice(1);
  viewer.nv.updateGLVolume();
  viewer.shown = name;
  showWindow();
  if (mm) moveTo(mm);
  for (const input of document.querySelectorAll("input[name=sequence]")) input.checked = input.value === name;
  return true;
}

// The sliders reach as far as the window does: dragging in a picture may take it beyond the grey values.
function showWindow() {
  const image = viewer.images.get(viewer.shown);
  const values = { width: Math.round(image.cal_max - image.cal_min), level: Math.round((image.cal_max + image.cal_min) / 2) };
  for (const [name, value] of Object.entries(values)) {
    const slider = document.getElementById(name);
    slider.min = Math.min(name === "width" ? 1 : 0, value);
    slider.max = Math.max(255, value);
    slider.value = value;
    document.getElementById(`${name}-now`).textContent = value;
  }
}

function setWindow() {
  const width = Math.max(1, Number(document.getElementById("width").value));
  const level = Number(document.getElementById("level").value);
  const image = viewer.images.get(viewer.shown);
  image.cal_min = level - width / 2;
  image.cal_max = level + width / 2;
  viewer.nv.updateGLVolume();
  showWindow();
}

function resetWindow() {
  const about = session.images.find((image) => image.name === viewer.shown);
  const image = viewer.images.get(viewer.shown);
  image.cal_min = about.black;
  image.cal_max = about.white;
  viewer.nv.updateGLVolume();
  showWindow();
}

function showLayers() {
  const hidden = document.getElementById("plain").checked;
  for (const input of document.querySelectorAll("input[name=layer]")) {
    const mask = viewer.masks.get(input.value);
    if (mask) mask.opacity = input.checked && !hidden ? viewer.opacity : 0;
  }
  viewer.nv.updateGLVolume();
}

// The lesion under the crosshair, such as CMB-2; null where none is.
function lesionHere(mm) {
  for (const [name, mask] of viewer.masks) {
    const [x, y, z] = mask.mm2vox(mm, true).map(Math.round);
    const [nx, ny, nz] = mask.hdr.dims.slice(1, 4);
    if (x < 0 || y < 0 || z < 0 || x >= nx || y >= ny || z >= nz) continue;
    const label = viewer.labels.get(name)[x + nx * (y + ny * z)];
    if (label > 0) return `${name}-${label}`;
  }
  return null;
}

function showPlace() {
  const mm = crosshairMm();
  const letters = [mm[0] < 0 ? "L" : "R", mm[1] < 0 ? "P" : "A", mm[2] < 0 ? "I" : "S"];
  const key = lesionHere(mm);
  const place = letters.map((letter, axis) => `${letter} ${Math.abs(mm[axis]).toFixed(1)}`).join("  ");
  document.getElementById("where").textContent = `${viewer.shown}   ${place} mm${key ? `   ${key.replace("-", " #")}` : ""}`;
  for (const row of document.querySelectorAll(".lesion")) row.classList.toggle("here", row.dataset.lesion === key);
}

async function jumpTo(key) {
  const lesion = lesionByKey.get(key);
  if (!lesion || !viewer.nv) return;
  const rated = session.markers.find((marker) => marker.name === lesion.marker).rated_on;
  if (document.getElementById("follow").checked && embedded("image", rated)) {
    if (rated === viewer.shown) viewer.asked += 1;
    else if (!(await showSequence(rated))) return;
  }
  moveTo(lesion.mm);
  for (const row of document.querySelectorAll(".lesion")) row.classList.toggle("here", row.dataset.lesion === key);
  document.getElementById("jumped").textContent = `At ${key.replace("-", " #")} on ${viewer.shown}`;
}

// Steps of the crosshair by voxels towards the right, the front and the top; in the picture the patient's right is on the left.
const STEPS = {
  ArrowLeft: [1, 0, 0], ArrowRight: [-1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1],
};

function jumpBy(step) {
  const rows = Array.from(document.querySelectorAll(".lesion"));
  if (!rows.length) return;
  const here = rows.findIndex((row) => row.classList.contains("here"));
  const row = rows[here < 0 ? (step > 0 ? 0 : rows.length - 1) : (here + step + rows.length) % rows.length];
  row.scrollIntoView({ block: "nearest" });
  jumpTo(row.dataset.lesion);
}

// NiiVue's own keys are stopped: some of them leave the three planes, others are the browser's.
function pressKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
  event.stopImmediatePropagation();
  const key = event.key.toLowerCase();
  if (STEPS[event.key]) viewer.nv.moveCrosshairInVox(...STEPS[event.key]);
  else if (key === "n" || key === "p") jumpBy(key === "n" ? 1 : -1);
  else if (session.images[Number(key) - 1]) showSequence(session.images[Number(key) - 1].name);
  else if (key === "o") document.getElementById("plain").click();
  else return;
  event.preventDefault();
}

function listen() {
  canvas.addEventListener("keydown", pressKey, { capture: true });
  for (const input of document.querySelectorAll("input[name=sequence]")) input.addEventListener("change", () => showSequence(input.value));
  for (const input of document.querySelectorAll("input[name=layer]")) input.addEventListener("change", showLayers);
  document.getElementById("plain").addEventListener("change", showLayers);
  document.getElementById("width").addEventListener("input", setWindow);
  document.getElementById("level").addEventListener("input", setWindow);
  document.getElementById("reset").addEventListener("click", resetWindow);
  document.getElementById("opacity").addEventListener("input", (event) => {
    viewer.opacity = Number(event.target.value);
    showLayers();
  });
  for (const row of document.querySelectorAll(".lesion")) {
    row.addEventListener("click", (event) => {
      if (!event.target.closest("select, input")) jumpTo(row.dataset.lesion);
    });
  }
  for (const elsewhere of document.querySelectorAll("path[data-lesion], figcaption [data-lesion]")) {
    elsewhere.addEventListener("click", () => {
      document.getElementById("viewer").scrollIntoView();
      jumpTo(elsewhere.dataset.lesion);
    });
  }
}

// NiiVue draws no ruler where the field of view runs from right to left, as it does in radiological convention.
function drawRulerInRadiologicalConvention() {
  const drawRuler = viewer.nv.drawRuler.bind(viewer.nv);
  viewer.nv.drawRuler = () => {
    const slice = viewer.nv.screenSlices[0];
    if (!slice) return;
    const fov = slice.fovMM;
    slice.fovMM = Array.from(fov, Math.abs);
    drawRuler();
    slice.fovMM = fov;
  };
}

async function startViewer() {
  const message = document.getElementById("message");
  if (!session.images.length) {
    message.textContent = "This report carries no images.";
    return;
  }
  try {
    viewer.nv = new niivue.Niivue({
      isRadiologicalConvention: true, sagittalNoseLeft: true, multiplanarLayout: 3, multiplanarShowRender: 0, multiplanarEqualSize: false, multiplanarPadPixels: 14,
      crosshairColor: [1, 1, 1, 0.55], crosshairWidth: 1, crosshairGap: 6, backColor: [0, 0, 0, 1], fontColor: [1, 1, 1, 1],
      isOrientationTextVisible: true, showAllOrientationMarkers: true, isRuler: true, rulerColor: [1, 1, 1, 0.9], rulerWidth: 2, dragAndDropEnabled: false, loadingText: "",
      show3Dcrosshair: false, viewModeHotKey: "", clipPlaneHotKey: "", logLevel: "error",
    });
    await viewer.nv.attachToCanvas(canvas);
    drawRulerInRadiologicalConvention();
    viewer.nv.onLocationChange = showPlace;
    viewer.nv.onIntensityChange = showWindow;
    const marked = session.markers.filter((marker) => embedded("mask", marker.name));
    const masks = await Promise.all(marked.map(loadMask));
    marked.forEach((marker, i) => viewer.masks.set(marker.name, masks[i]));
    const first = lesionByKey.get(document.querySelector(".lesion")?.dataset.lesion);
    const rated = first && session.markers.find((marker) => marker.name === first.marker).rated_on;
    await showSequence([rated, session.reference, session.images[0].name].find((name) => name && embedded("image", name)));
    viewer.nv.setSliceType(viewer.nv.sliceTypeMultiplanar);
    if (first) moveTo(first.mm);
    listen();
    message.remove();
    document.body.dataset.viewer = "ready";
  } catch (error) {
    message.textContent = `The viewer needs a browser with WebGL 2 (${error.message}). All figures below work without it.`;
    document.body.dataset.viewer = "failed";
  }
}

// Once the page is drawn, so that its text can be read at once.
requestAnimationFrame(() => setTimeout(startViewer));
