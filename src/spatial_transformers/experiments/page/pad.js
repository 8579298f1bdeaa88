// A white pad and a black pen; whoever lifts the pen sends what is drawn as a PNG.
const pad = element.querySelector("canvas");
const pen = pad.getContext("2d");
let drawing = false;

function wipe() {
  pen.fillStyle = "white";
  pen.fillRect(0, 0, pad.width, pad.height);
}

function drawTo(event) {
  const box = pad.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  pen.lineTo((x * pad.width) / box.width, (y * pad.height) / box.height);
  pen.stroke();
}

pad.addEventListener("pointerdown", (event) => {
  drawing = true;
  pad.setPointerCapture(event.pointerId);
  pen.beginPath();
  drawTo(event);
  drawTo(event); // a dot is a line to where it begins
});
pad.addEventListener("pointermove", (event) => drawing && drawTo(event));
for (const lifted of ["pointerup", "pointercancel"]) {
  pad.addEventListener(lifted, () => {
    if (drawing) trigger("input", { image: pad.toDataURL("image/png") });
    drawing = false;
  });
}
element.querySelector("button").addEventListener("click", wipe);
Object.assign(pen, { lineWidth: 18, lineCap: "round", lineJoin: "round" });
wipe();
