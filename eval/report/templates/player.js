"use strict";

// The episode player: draws recorded episodes on a canvas, step by step. Nothing plays by itself.
(() => {
  const box = document.getElementById("player");
  const source = document.getElementById("films");
  if (!box || !source) return;

  const { unit, sheet, sprites, actionTitles, ages, boards, films } = JSON.parse(source.textContent);
  const part = (id) => document.getElementById(id);
  const stage = part("stage");
  const strip = part("values");
  const slider = part("step");
  const play = part("play");
  const whole = part("whole");
  const training = part("age"); // if there are several ages, each with the same number of films
  const choices = [...box.querySelectorAll("[data-film]")];

  const images = new Map();
  const image = (address) => {
    if (!images.has(address)) {
      const loading = new Image();
      loading.addEventListener("load", draw);
      loading.src = address;
      images.set(address, loading);
    }
    return images.get(address);
  };

  let chosen = 0;
  let film = films[0];
  let step = 0;
  let timer = null;

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function fit(canvas, height) {
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.width !== w || canvas.height !== h) {
      canvas.width = w;
      canvas.height = h;
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    return { context, width };
  }

  // Values that never change have one entry.
  const at = (values) => values[values.length === 1 ? 0 : step];

  // The part of the board that is shown, in tiles; y up from its lower edge.
  function camera() {
    const { columns, rows, view } = film;
    if (whole.checked || !view) return { left: 0, bottom: 0, columns, rows };
    const focus = film.tracks[film.focus];
    const [across, up] = [Math.min(view, columns), Math.min(view, rows)];
    return {
      left: clamp(at(focus.x) / unit - across / 2, 0, columns - across),
      bottom: clamp(at(focus.y) / unit - up / 2, 0, rows - up),
      columns: across,
      rows: up,
    };
  }

  function drawStage() {
    if (!stage.clientWidth) return;
    const view = camera();
    stage.classList.toggle("near", view.columns < 1.3 * view.rows);
    const tile = stage.clientWidth / view.columns;
    const { context } = fit(stage, tile * view.rows);
    const board = image(boards[film.board]);
    const art = image(sheet);
    if (!board.complete || !art.complete) return;

    const pixels = board.naturalWidth / film.columns;
    const above = view.bottom + view.rows;
    context.drawImage(
      board,
      view.left * pixels, (film.rows - above) * pixels, view.columns * pixels, view.rows * pixels,
      0, 0, view.columns * tile, view.rows * tile,
    );
    for (const track of film.tracks) {
      const number = at(track.sprite);
      if (number < 0) continue;
      const [left, top, width, height] = sprites[number];
      const [w, h] = [(width / film.tile) * tile, (height / film.tile) * tile];
      context.save();
      context.translate((at(track.x) / unit - view.left) * tile, (above - at(track.y) / unit) * tile);
      if (at(track.flip)) context.scale(-1, 1);
      context.drawImage(art, left, top, width, height, -w / 2, -h / 2, w, h);
      context.restore();
    }
    context.setLineDash([4, 3]);
    context.lineWidth = 2;
    context.strokeStyle = "#d81b60";
    for (const [x, y] of film.marks) {
      context.strokeRect((x - view.left) * tile, (above - y - 1) * tile, tile, tile);
    }
    context.setLineDash([]);
    const detail = { film, step, view, tile, context, playing: timer !== null };
    box.dispatchEvent(new CustomEvent("drawn", { detail }));
  }

  function drawValues() {
    strip.hidden = !film.values;
    if (!film.values || !strip.clientWidth) return;
    const height = 56;
    const { context, width } = fit(strip, height);
    const colours = getComputedStyle(box);
    const low = Math.min(...film.values);
    const span = Math.max(...film.values) - low || 1;
    const x = (i) => 6 + (i / Math.max(film.steps, 1)) * (width - 12);
    const y = (value) => height - 6 - ((value - low) / span) * (height - 12);
    context.strokeStyle = colours.getPropertyValue("--faint");
    context.lineWidth = 1.5;
    context.beginPath();
    film.values.forEach((value, i) => context.lineTo(x(i), y(value)));
    context.stroke();
    context.fillStyle = colours.getPropertyValue("--accent");
    context.fillRect(x(step) - 0.75, 2, 1.5, height - 4);
    context.beginPath();
    context.arc(x(step), y(film.values[step]), 4, 0, 2 * Math.PI);
    context.fill();
  }

  function draw() {
    drawStage();
    drawValues();
  }

  function describe() {
    const words = [`Step ${step} of ${film.steps}`];
    if (step < film.steps) {
      words.push(`action: ${actionTitles[film.actions[step]] || film.actions[step]}`);
    }
    if (film.values) words.push(`value estimate ${film.values[step].toFixed(2)}`);
    if (step === film.steps) words.push("the episode is decided");
    return words.join(" · ");
  }

  function show(next) {
    step = clamp(next, 0, film.steps);
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step} of ${film.steps}`);
    part("now").textContent = describe();
    part("back").disabled = step === 0;
    part("forward").disabled = step === film.steps;
    draw();
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    drawStage();
  }

  function start() {
    if (step === film.steps) show(0);
    play.textContent = "Pause";
    timer = setInterval(() => {
      show(step + 1);
      if (step === film.steps) pause();
    }, 1000 / Number(part("speed").value));
  }

  const toggle = () => (timer === null ? start() : pause());
  const stepBy = (by) => {
    pause();
    show(step + by);
  };

  function choose(number, at = 0) {
    pause();
    chosen = number;
    film = films[(training ? Number(training.value) * choices.length : 0) + number];
    choices.forEach((button, i) => button.setAttribute("aria-pressed", String(i === number)));
    slider.max = film.steps;
    part("about").textContent = film.about;
    part("wide").hidden = !film.view;
    show(at);
  }

  function grow() {
    part("trained").textContent = ages[training.value];
    training.setAttribute("aria-valuetext", ages[training.value]);
    choose(chosen, step); // the same moment
  }

  choices.forEach((button, number) => button.addEventListener("click", () => choose(number)));
  play.addEventListener("click", toggle);
  part("back").addEventListener("click", () => stepBy(-1));
  part("forward").addEventListener("click", () => stepBy(1));
  slider.addEventListener("input", () => {
    pause();
    show(Number(slider.value));
  });
  if (training) training.addEventListener("input", grow);
  whole.addEventListener("change", draw);
  box.addEventListener("redraw", draw);
  box.addEventListener("halt", pause);
  part("speed").addEventListener("change", () => {
    if (timer === null) return;
    pause();
    start();
  });

  // Native controls keep their own keys: Space for a button, arrows for a list.
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    const acts = {
      " ": toggle,
      ArrowLeft: () => stepBy(-1),
      ArrowRight: () => stepBy(1),
      Home: () => stepBy(-film.steps),
      End: () => stepBy(film.steps),
    };
    const isControl = target.matches("button, select, input[type=checkbox]");
    if (!(event.key in acts) || target.matches("select, #age") || (event.key === " " && isControl)) return;
    event.preventDefault();
    acts[event.key]();
  });

  box.hidden = false;
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  choose(0);
  if (training) grow();
})();
