"use strict";

// The "Look inside" tab of the player: fields over the level, the same moment without an object,
// and how much that changes each layer. It draws after the player has drawn.
(() => {
  const box = document.getElementById("player");
  const part = (id) => document.getElementById(id);
  const tab = part("inside");
  if (!box || !tab) return;

  const toggle = part("look-inside");
  const choices = [...tab.querySelectorAll("input[name=field]")];
  const { actionTitles } = JSON.parse(part("films").textContent);
  const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const decoded = new Map();
  let shown = null;

  function bytes(text, Kind = Uint8Array) {
    if (!decoded.has(text)) {
      decoded.set(text, Uint8Array.from(atob(text), (each) => each.charCodeAt(0)));
    }
    return new Kind(decoded.get(text).buffer);
  }

  function colour(share) {
    const at = Math.min(share, 0.9999) * (stops.length - 1);
    const [low, high] = [stops[Math.floor(at)], stops[Math.floor(at) + 1]];
    const mixed = low.map((each, i) => Math.round(each + (high[i] - each) * (at % 1)));
    return `rgb(${mixed.join(" ")} / 72%)`;
  }

  const nearest = (moments, step) =>
    moments.reduce((best, each) =>
      Math.abs(each.step - step) < Math.abs(best.step - step) ? each : best);

  function arrow(context, x, y, across, up, tile) {
    const length = Math.hypot(across, up);
    if (length < 0.08) return;
    context.save();
    context.translate(x, y);
    context.rotate(Math.atan2(-up, across));
    const half = 0.42 * tile * Math.min(length, 1);
    const head = Math.min(0.22 * tile, half);
    context.beginPath();
    context.moveTo(-half, 0);
    context.lineTo(half - head, 0);
    context.moveTo(half, 0);
    context.lineTo(half - head, 0.6 * head);
    context.lineTo(half - head, -0.6 * head);
    context.closePath();
    for (const [ink, width] of [["#000", 3], ["#fff", 1.4]]) {
      context.strokeStyle = context.fillStyle = ink;
      context.lineWidth = width;
      context.stroke();
    }
    context.fill();
    context.restore();
  }

  function drawField({ context, view, tile }, moment) {
    const object = choices.find((each) => each.checked).value;
    const field = moment.fields.find((each) => each.object === object);
    if (!field) return;
    const cells = bytes(field.cells);
    const values = bytes(field.values);
    const arrows = field.arrows && bytes(field.arrows, Int8Array);
    const above = view.bottom + view.rows;
    values.forEach((value, i) => {
      const [left, top] = [(cells[2 * i] - view.left) * tile, (above - cells[2 * i + 1] - 1) * tile];
      context.fillStyle = colour(value / 255);
      context.fillRect(left + 0.5, top + 0.5, tile - 1, tile - 1);
      if (arrows) {
        const [across, up] = [arrows[2 * i] / 100, arrows[2 * i + 1] / 100];
        arrow(context, left + tile / 2, top + tile / 2, across, up, tile);
      }
    });
  }

  // A row of a table: a name, and a bar for each number with the number beside it.
  function row(name, numbers, most) {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    line.append(head);
    for (const number of numbers) {
      const cell = document.createElement("td");
      if (number === null) cell.textContent = "–";
      else {
        const bar = document.createElement("span");
        bar.className = "bar";
        bar.style.width = `${(4.5 * number) / (most || 1)}rem`;
        cell.append(bar, number.toFixed(2));
      }
      line.append(cell);
    }
    return line;
  }

  // Actions that share a title share a row: they are buttons that do the same thing.
  function actions(real, without) {
    const rows = new Map();
    real.p.forEach((p, i) => {
      const title = actionTitles[i] || String(i);
      const known = rows.get(title) || [0, without ? 0 : null];
      rows.set(title, [known[0] + p, without ? known[1] + without.p[i] : null]);
    });
    return [...rows];
  }

  function describe(inside, moment) {
    const { real, without } = moment;
    const [noun] = Object.values(inside.nouns);
    part("inside-moment").textContent =
      `Step ${moment.step}. Value estimate ${real.value.toFixed(2)}` +
      (without ? `, without the ${noun} ${without.value.toFixed(2)}.` : `. There is no ${noun}.`);
    part("inside-scale").textContent =
      `Dark: value ${inside.low.toFixed(2)}; bright: ${inside.high.toFixed(2)}.`;
    part("inside-actions").replaceChildren(
      ...actions(real, without).map(([title, numbers]) => row(title, numbers, 1)));
    const most = Math.max(...inside.moments.flatMap((each) => each.changed), 0);
    part("inside-layers").replaceChildren(
      ...inside.layers.map((name, i) => row(name, [moment.changed[i] ?? null], most)));
  }

  box.addEventListener("drawn", ({ detail }) => {
    shown = detail;
    const { inside } = detail.film;
    toggle.hidden = !inside;
    if (!inside) tab.hidden = true;
    toggle.setAttribute("aria-expanded", String(!tab.hidden));
    if (tab.hidden || detail.playing) return;
    const moment = nearest(inside.moments, detail.step);
    drawField(detail, moment);
    describe(inside, moment);
  });

  const redraw = () => box.dispatchEvent(new Event("redraw"));
  toggle.addEventListener("click", () => {
    tab.hidden = !tab.hidden;
    if (!tab.hidden) box.dispatchEvent(new Event("halt"));
    redraw();
  });
  choices.forEach((each) => each.addEventListener("change", redraw));
  if (!shown) redraw();
})();
