"use strict";
// What arrives, as it arrives. At most MOST rows are in the page. While it is paused, rows wait, and of those at most MOST.
(() => {
  const MOST = 500, AGAIN = 2000, COUNTED = 5000;
  const place = document.getElementById("live"), rows = document.getElementById("arrivals");
  const pause = document.getElementById("pause"), clear = document.getElementById("clear");
  const count = document.getElementById("count"), detail = document.getElementById("detail");
  let last = Number(place.dataset.last), waiting = [], isPaused = false, seen = 0, missed = 0, atMost = false, source = null, drawn = 0;

  function connect() {
    const query = new URLSearchParams({ ...JSON.parse(place.dataset.filters), follow: "true", content: "true" });
    if (last) query.set("after", last);
    source = new EventSource("/api/arrivals?" + query);
    source.addEventListener("arrival", (event) => heard(JSON.parse(event.data)));
    source.addEventListener("missed", (event) => {
      const told = JSON.parse(event.data);
      missed += told.missed;
      atMost ||= told.at_most === true;
    });
    source.addEventListener("open", () => gateway.say(""));
    source.addEventListener("error", (event) => {
      if (event.data) { gateway.say(JSON.parse(event.data).error, true); source.close(); return; }
      source.close();  // a browser does not try again after an answer other than 200
      why().then((words) => { gateway.say(words, true); setTimeout(connect, AGAIN); });
    });
  }

  // An EventSource does not say why it ended. After the end of a login, this page is one that asks for it.
  async function why() {
    const session = await gateway.call("GET", "/api/session").catch(() => null);
    if (session === null) return "The gateway does not answer; the page tries again.";
    if (session.login && session.user === null) location.reload();
    return "The gateway has ended the stream; the page tries again.";
  }

  function heard(told) {
    seen += 1;
    if (told.number) last = Math.max(last, told.number);
    waiting.push(told);
    if (waiting.length > MOST) waiting.shift();
    if (isPaused) pause.textContent = `Resume (${waiting.length === MOST ? "the last " : ""}${waiting.length} waiting)`;
    else if (!drawn) drawn = requestAnimationFrame(draw);
  }

  function draw() {
    drawn = 0;
    rows.prepend(...waiting.reverse().map(row));
    waiting = [];
    while (rows.children.length > MOST) rows.lastElementChild.remove();
  }

  // The same cells as live.html has.
  function row({ arrival, number }) {
    const made = document.createElement("tr");
    made.classList.toggle("failed", arrival.error !== "");
    const head = document.createElement("th"), time = stamp(arrival.time);
    head.scope = "row";
    head.className = "time";
    if (number) head.append(link(number, time)); else head.textContent = time;
    const route = arrival.route && arrival.target ? `${arrival.route} → ${arrival.target}` : arrival.route + arrival.target;
    const verdict = arrival.error ? `${arrival.verdict}, ${arrival.error}` : arrival.verdict;
    const cells = [["Type", arrival.event], ["From", arrival.who], ["To", arrival.what], ["Route", route],
      ["Verdict", verdict], ["Took", period(arrival.seconds)]];
    made.append(head, ...cells.map(([label, text]) => {
      const cell = document.createElement("td");
      cell.dataset.label = label;
      cell.dir = "auto";
      cell.textContent = text;
      return cell;
    }));
    return made;
  }

  function link(number, text) {
    const made = document.createElement("a");
    made.href = "/live/" + number;
    made.textContent = text;
    return made;
  }

  const stamp = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC";
  // As words.period has it.
  function period(seconds) {
    if (seconds < 1) return seconds > 0 ? `${Number((seconds * 1000).toPrecision(3))} ms` : "0 s";
    if (seconds < 10) return `${Number(seconds.toPrecision(2))} s`;
    const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([least]) => seconds >= least);
    return `${Math.floor(seconds / size)} ${unit}`;
  }

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", isPaused);
    pause.textContent = isPaused ? "Resume" : "Pause";
    if (!isPaused) draw();
  });
  clear.addEventListener("click", () => rows.replaceChildren());

  // A click shows the arrival in a dialog; its address is that of a page of its own.
  rows.addEventListener("click", async (event) => {
    const target = event.target.closest("a");
    if (!target || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const response = await fetch(target.href).catch(() => null);
    if (response === null) { gateway.say("The gateway does not answer.", true); return; }
    const found = new DOMParser().parseFromString(await response.text(), "text/html");
    const shown = found.getElementById("arrival") || found.querySelector("[role=alert]");
    if (shown === null) { location.assign(target.href); return; }  // a page that asks for a login
    document.getElementById("detail-content").replaceChildren(document.importNode(shown, true));
    detail.showModal();
  });

  // A screen reader hears a number now and then, and not each row.
  setInterval(() => {
    const text = `${rows.children.length} shown, ${seen} since you opened the page` + (missed ? `, ${atMost ? "at most " : ""}${missed} missed` : "") + ".";
    if (count.textContent !== text && seen) count.textContent = text;
  }, COUNTED);

  pause.hidden = clear.hidden = false;
  connect();
})();
