"use strict";
// Lists: check entries, or take all that match the filters, and change them. The answer of a change that takes long is a
// series of events that tell how far it is.
(() => {
  const form = document.getElementById("bulk");
  const progress = document.getElementById("progress");
  const checked = () => [...form.querySelectorAll("[name=chosen]:checked")].map((box) => box.value);

  form.addEventListener("change", (event) => {
    if (event.target.id !== "all") return;
    for (const box of form.querySelectorAll("[name=chosen]")) box.checked = event.target.checked;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter?.dataset.action) change(event.submitter.dataset);
  });

  function choice(action) {
    const filters = JSON.parse(form.dataset.filters);
    if (document.getElementById("which").value === "chosen") {
      const keys = checked();
      return { body: { [form.dataset.key]: keys }, count: keys.length, words: keys.length === 1 ? "this one" : "these " + keys.length };
    }
    const isAll = !Object.keys(filters).length;
    const body = isAll && "everything" in action ? { everything: true } : filters;
    return { body, count: -1, words: isAll ? "everything in this list" : "all that match the filters" };
  }

  async function change(action) {
    const { body, count, words } = choice(action);
    if (count === 0) { gateway.say("Check one or more first.", true); return; }
    if (!(await gateway.ask(action.question.replace("{}", words)))) return;
    const [method, path] = action.action.split(" ");
    const answer = await gateway.busy(form, () => "streams" in action
      ? gateway.stream(method, path, body, tell) : gateway.call(method, path, body));
    progress.hidden = true;
    if (answer === undefined) return;
    const [changed, found] = "found" in answer ? [answer.removed, answer.found] : [answer.changed, answer.done];
    gateway.say(`Done: ${changed} of ${found}.` + (isMore ? " More match: do it again for the rest." : ""));
    gateway.refresh();
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
