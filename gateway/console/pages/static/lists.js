"use strict";
// Lists: check entries, or take all that match the filters, and change or export them. The answer of a change that takes
// long is a series of events that tell how far it is.
(() => {
  const MOST = 50;  // an address has room for so many
  const byId = (id) => document.getElementById(id);
  const form = byId("bulk"), progress = byId("progress"), far = byId("far"), stop = byId("stop"), rate = byId("rate");
  const checked = () => [...form.querySelectorAll("[name=chosen]:checked")];
  const isChosen = () => byId("which").value === "chosen";
  let stopping = null;

  form.addEventListener("change", (event) => {
    if (event.target.id !== "all") return;
    for (const box of form.querySelectorAll("[name=chosen]")) box.checked = event.target.checked;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = event.submitter?.dataset;
    if (wanted?.action) change(wanted);
    if (wanted?.export) download(wanted.export);
  });
  stop?.addEventListener("click", () => stopping?.abort());

  // What is chosen, as the bodies of calls: keys of two servers may be the same.
  function choice(action) {
    if (isChosen()) {
      const boxes = checked(), servers = new Map();
      for (const { value, dataset } of boxes) servers.set(dataset.server, [...(servers.get(dataset.server) || []), value]);
      const bodies = [...servers].map(([server, keys]) => ({ [form.dataset.key]: keys, server }));
      return { bodies, words: boxes.length === 1 ? "this one" : `these ${boxes.length}` };
    }
    const filters = JSON.parse(form.dataset.filters), isAll = !Object.keys(filters).length;
    const body = isAll && "everything" in action ? { everything: true } : filters;
    return { bodies: [body], isRefused: isAll && !("everything" in action), words: isAll ? "everything in this list" : "all that match the filters" };
  }

  async function change(action) {
    const { bodies, words, isRefused } = choice(action);
    if (isRefused) { gateway.say("Search with one filter or more first.", true); return; }
    if (!bodies.length) { gateway.say("Check one or more first.", true); return; }
    if (!(await gateway.ask(action.question.replace("{}", words)))) return;
    gateway.say("");
    const done = await gateway.busy(form, () => all(action, bodies));
    byId("work").hidden = true;
    if (done !== undefined) gateway.say(`Done: ${done.changed} of ${done.found}.`);
    if (done !== undefined || stopping.signal.aborted) gateway.refresh();
  }

  async function all(action, bodies) {
    const [method, path] = action.action.split(" "), done = { changed: 0, found: 0 };
    stopping = new AbortController();
    for (const body of bodies) {
      begin("streams" in action);
      if (rate?.value) body.rate = Number(rate.value);
      const answer = "streams" in action ? await streamed(method, path, body) : await gateway.call(method, path, body);
      done.changed += answer.removed ?? answer.changed;
      done.found += answer.found ?? answer.done;
    }
    return done;
  }

  async function streamed(method, path, body) {
    const answer = await gateway.stream(method, path, body, tell, stopping.signal).catch((error) => {
      throw stopping.signal.aborted ? new Error(`Stopped: ${far.textContent || "none"} were tried.`) : error;
    });
    if (!answer?.finished) throw new Error(`It ended early: ${far.textContent} were tried. Look at the list, and do it again for the rest.`);
    return answer;
  }

  // A change that does not tell how far it is can only be waited for.
  function begin(isTold) {
    progress.removeAttribute("value");
    far.textContent = "";
    stop.hidden = !isTold;
    byId("work").hidden = false;
  }

  function tell(answer) {
    if (answer.more) { far.textContent = `${answer.matching} counted so far`; return; }
    if ("matching" in answer) progress.max = Math.max(1, answer.matching);
    progress.value = answer.done || 0;
    far.textContent = `${answer.done || 0} of ${progress.max}`;
  }

  function download(path) {
    const keys = checked().map((box) => ["ids", box.value]);
    if (isChosen() && !keys.length) { gateway.say("Check one or more first.", true); return; }
    if (isChosen() && keys.length > MOST) { gateway.say(`Check ${MOST} at most, or export all that match.`, true); return; }
    gateway.say("");
    location.assign(`${path}?${isChosen() ? new URLSearchParams(keys) : form.dataset.query}`);
  }
})();
