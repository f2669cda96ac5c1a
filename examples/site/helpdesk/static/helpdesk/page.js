// The page: one WebSocket brings everything that is shown, another one is the chat. What comes from outside is set as
// text, never as HTML.

const $ = (id) => document.getElementById(id);
const DAY = { day: "numeric", month: "short" };
const MINUTE = { hour: "2-digit", minute: "2-digit" };
const today = (date) => date.toDateString() === new Date().toDateString();

function clock(at) {
  const date = new Date(at * 1000);
  const textContent = date.toLocaleString([], today(date) ? MINUTE : { ...DAY, ...MINUTE });
  return element("time", { textContent, dateTime: date.toISOString(), title: date.toLocaleString() });
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// What this browser remembers. A browser may forbid it.
function kept(name) {
  try { return localStorage.getItem(name) ?? ""; } catch { return ""; }
}
function keep(name, value) {
  try { localStorage.setItem(name, value); } catch { /* then it is forgotten */ }
}

// A WebSocket that connects again when it is lost: after 0.5 s, then after twice as long each time, 10 s at most.
function connect(path, { open = () => {}, message, lost = () => {} }) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const link = { send: () => false };
  let pause = 500;
  const dial = () => {
    const socket = new WebSocket(`${scheme}://${location.host}${path}`);
    link.send = (text) => socket.readyState === WebSocket.OPEN && (socket.send(text), true);
    socket.onopen = () => { pause = 500; open(); };
    socket.onmessage = (event) => message(event.data);
    socket.onclose = () => { lost(); setTimeout(dial, pause); pause = Math.min(pause * 2, 10000); };
  };
  dial();
  return link;
}

// Lists: tickets, texts and posts. Newest first; a row that comes again replaces itself and moves to the top.

const head = (title, at, url) =>
  element("div", { className: "head" }, element("strong", { title }, url ? element("a", { textContent: title, href: url }) : title), clock(at));

const rows = {
  ticket: (t) => [
    head(`#${t.id} ${t.subject}`, t.at, t.url),
    element("p", { textContent: `${t.sender} · ${t.mails === 1 ? "1 mail" : `${t.mails} mails`}${t.closed ? " · closed" : ""}` }),
    element("p", { textContent: t.text }),
    ...(t.answer ? [element("p", { className: "answer", textContent: t.answer })] : []),
  ],
  text: (t) => [head(t.sender, t.at), element("p", { textContent: t.text }), element("p", { className: "answer", textContent: t.answer, title: t.handler })],
  post: (p) => [head(p.author, p.at), element("p", { textContent: p.text })],
};
const LONGEST_LIST = 20;

function show(kind, row, fresh) {
  const list = $(`${kind}-list`);
  const key = String(row.id);
  [...list.children].find((item) => item.dataset.id === key)?.remove();
  const item = element("li", { className: fresh ? "new" : "" }, ...rows[kind](row));
  item.dataset.id = key;
  list.prepend(item);
  while (list.children.length > LONGEST_LIST) list.lastChild.remove();
  list.closest(".card").querySelector(".count").textContent = list.children.length === LONGEST_LIST ? `newest ${LONGEST_LIST}` : list.children.length;
}

// Temperatures: a line for each sensor; only the first sensors by name.

const MOST_SENSORS = 12;
const MOST_POINTS = 200;
const COLOURS = 6;
let sensors = new Map(); // name -> its newest readings, oldest first
let drawing = 0;

function measured(reading) {
  const points = sensors.get(reading.sensor) ?? [];
  if (points.length && points.at(-1).id >= reading.id) return; // it is shown already
  points.push(reading);
  if (points.length > MOST_POINTS) points.shift();
  sensors.set(reading.sensor, points);
  if (sensors.size > MOST_SENSORS) sensors.delete([...sensors.keys()].sort().at(-1));
  drawing ||= requestAnimationFrame(draw);
}

// The "nice" step of an axis: 1, 2 or 5 times a power of ten, so that about `count` lines fit.
function step(span, count) {
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 5].find((m) => m * power >= raw) ?? 10);
}

function svg(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// Only what is within the chosen time is drawn; a sensor that has said nothing since then has a value and no line.
let minutes = kept("minutes");
const within = (points) => (minutes ? points.filter((r) => r.at >= Date.now() / 1000 - minutes * 60) : points);
for (const input of $("window").querySelectorAll("input")) {
  input.checked = input.value === minutes;
  input.addEventListener("change", () => { keep("minutes", (minutes = input.value)); drawing ||= requestAnimationFrame(draw); });
}
setInterval(() => { if (minutes) drawing ||= requestAnimationFrame(draw); }, 10_000);

function draw() {
  drawing = 0;
  const lines = [...sensors].sort(([a], [b]) => (a < b ? -1 : 1));
  const colour = (i) => `--series: var(--series-${i % COLOURS}); --dash: ${i < COLOURS ? "none" : "6 5"}`;
  $("temperatures").querySelector(".count").textContent = lines.length === MOST_SENSORS ? `first ${MOST_SENSORS} by name` : "";
  $("sensors").replaceChildren(...lines.map(([sensor, points], i) => {
    const value = element("b", { textContent: `${points.at(-1).celsius.toFixed(1)} °C` });
    const item = element("li", {}, element("span", { textContent: sensor }), value);
    item.style = colour(i);
    return item;
  }));
  const chart = $("chart");
  const drawn = lines.map(([sensor, points]) => [sensor, within(points)]);
  const some = drawn.some(([, points]) => points.length);
  chart.toggleAttribute("hidden", !some);
  if (some) chart.replaceChildren(...axes(chart, drawn, colour));
}

function axes(chart, lines, colour) {
  const { width, height } = chart.getBoundingClientRect();
  const box = { left: 34, right: width - 8, top: 8, bottom: height - 22 };
  const all = lines.flatMap(([, points]) => points);
  const times = all.map((r) => r.at);
  const values = all.map((r) => r.celsius);
  const [from, to] = [Math.min(...times), Math.max(Math.max(...times), Math.min(...times) + 10)];
  const [low, high] = [Math.min(...values) - 0.5, Math.max(...values) + 0.5];
  const x = (at) => box.left + ((at - from) / (to - from)) * (box.right - box.left);
  const y = (celsius) => box.bottom - ((celsius - low) / (high - low)) * (box.bottom - box.top);
  const drawn = [];
  const gap = step(high - low, 7);
  for (let value = Math.ceil(low / gap) * gap; value <= high; value += gap) {
    drawn.push(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }));
    drawn.push(svg("text", { x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, `${+value.toFixed(2)}°`));
  }
  const more = to - from < 600 ? { second: "2-digit" } : today(new Date(from * 1000)) ? {} : DAY;
  const label = (at) => new Date(at * 1000).toLocaleString([], { ...MINUTE, ...more });
  for (const [at, anchor] of [[from, "start"], [(from + to) / 2, "middle"], [to, "end"]]) {
    drawn.push(svg("text", { x: x(at), y: height - 3, "text-anchor": anchor }, label(at)));
  }
  lines.forEach(([, points], i) => {
    if (!points.length) return;
    const d = points.map((r, n) => `${n ? "L" : "M"}${x(r.at).toFixed(1)} ${y(r.celsius).toFixed(1)}`).join("");
    const last = points.at(-1);
    drawn.push(svg("path", { d, style: colour(i) }), svg("circle", { cx: x(last.at), cy: y(last.celsius), r: 3.5, style: colour(i) }));
  });
  return drawn;
}
new ResizeObserver(() => { drawing ||= requestAnimationFrame(draw); }).observe($("chart").parentElement);

// The WebSocket of the page.

function restart(data) {
  for (const kind of Object.keys(rows)) {
    $(`${kind}-list`).replaceChildren();
    data[kind].forEach((row) => show(kind, row, false));
  }
  sensors = new Map();
  data.reading.forEach(measured);
  drawing ||= requestAnimationFrame(draw);
}

function state(name, words) {
  $("status").dataset.state = name;
  $("status").textContent = words;
}

connect("/live/", {
  open: () => state("live", "live"),
  lost: () => state("lost", "connection lost, trying again"),
  message: (text) => {
    const { kind, data } = JSON.parse(text);
    if (kind === "snapshot") restart(data);
    else if (kind === "reading") data.forEach(measured);
    else data.forEach((row) => show(kind, row, true));
  },
});

// The chat.

const LONGEST_CHAT = 200;
const button = $("chat-form").querySelector("button");
const chat = connect("/chat/", {
  open: () => { button.disabled = false; $("chat-list").replaceChildren(); }, // what has been said comes again
  lost: () => { button.disabled = true; }, // what was typed stays in its field
  message: (text) => {
    const list = $("chat-list");
    list.append(element("li", { textContent: text }));
    while (list.children.length > LONGEST_CHAT) list.firstChild.remove();
    list.scrollTop = list.scrollHeight;
  },
});
const { name: author } = $("chat-form").elements;
author.value = kept("name");
author.addEventListener("change", () => keep("name", author.value));
$("chat-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const { name, text } = event.target.elements;
  const said = name.value.trim() ? `${name.value.trim()}: ${text.value}` : text.value;
  if (chat.send(said)) text.value = "";
});
