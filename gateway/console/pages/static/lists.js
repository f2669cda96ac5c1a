"use strict";
// Lists: check entries, or take all that match the filters, and change them. The answer of a change that takes long is a
// series of events that tell how far it is.
(() => {
  const form = document.getElementById("bulk");
  const progress = document.getElementById("progress");
  const checked = () => [...form.querySelectorAll("[name=chosen]:checked")];

  form.addEventListener("change", (event) => {
    if (event.target.id !== "all") return;
    for (const box of form.querySelectorAll("[name=chosen]")) box.checked = event.target.checked;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter?.dataset.action) change(event.submitter.dataset);
  });

  // What is chosen, as the bodies of calls: keys of two servers may be the same.
  function choice(action) {
    if (document.getElementById("which").value === "chosen") {
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
    const done = await gateway.busy(form, () => all(action, bodies));
    progress.hidden = true;
    if (done === undefined) return;
    gateway.say(`Done: ${done.changed} of ${done.found}.` + (isMore ? " More match: do it again for the rest." : ""));
    gateway.refresh();
  }

  async function all(action, bodies) {
    const [method, path] = action.action.split(" "), done = { changed: 0, found: 0 };
    for (const body of bodies) {
      const answer = "streams" in action ? await gateway.stream(method, path, body, tell) : await gateway.call(method, path, body);
      if ("streams" in action && !answer?.finished) throw new Error(`It ended early: ${progress.textContent} were tried. Look at the list, and do it again for the rest.`);
      done.changed += answer.removed ?? answer.changed;
      done.found += answer.found ?? answer.done;
    }
    return done;
  }

  let isMore = false;
  function tell(answer) {
    if ("matching" in answer) {
      isMore = answer.more;
      progress.max = Math.max(1, answer.matching);
      progress.hidden = false;
    }
    progress.value = answer.done || 0;
    progress.textContent = `${answer.done || 0} of ${progress.max}`;
  }
})();
