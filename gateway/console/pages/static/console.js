"use strict";
// What all pages of the console share. A page works by attributes of its HTML:
//   form data-call="POST /api/…"   sends its fields as JSON; data-confirm asks first; data-done is said afterwards;
//                                  data-then is the page to go to; data-stream: the answers are events;
//                                  data-fields: fields that are always sent, as JSON
//                                  data-keep: show the last answer that has this key
//                                  data-show: the id of the element that shows the last answer
//   section id data-refresh="5"    is fetched again every so many seconds
// What came from outside is only ever set as text.

const gateway = (() => {
  const byId = (id) => document.getElementById(id);

  function say(text, isBad = false) {
    const notice = byId("notice");
    notice.textContent = text;
    notice.classList.toggle("bad", isBad);
    notice.hidden = !text;
  }

  // Asks a question in a dialog; resolves to true or false. Focus returns to where it was.
  function ask(question) {
    const dialog = byId("confirm");
    byId("confirm-question").textContent = question;
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
  }

  async function failure(response) {
    if (response.status === 401 && location.pathname !== "/login") {
      location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
    }
    const answer = await response.json().catch(() => ({}));
    return new Error(answer.error || "The gateway answers " + response.status + ".");
  }

  function send(method, path, body, signal) {
    const options = { method, signal, headers: { Accept: "application/json" } };
    if (body !== undefined) {
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    return fetch(path, options).catch(() => { throw new Error("The gateway does not answer."); });
  }

  // Calls an operation. Resolves to its answer; rejects with an Error whose message is one sentence.
  async function call(method, path, body) {
    const response = await send(method, path, body);
    if (!response.ok) throw await failure(response);
    return response.json();
  }

  // Calls an operation that has many answers: heard(answer) is called for each. Resolves to the last. The signal ends it.
  async function stream(method, path, body, heard, signal) {
    const response = await send(method, path, body, signal);
    if (!response.ok) throw await failure(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", last = null;
    for (;;) {
      const { done, value } = await reader.read().catch(() => {
        throw new Error("The connection to the gateway broke. Part of the change may be done.");
      });
      if (done) return last;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const data = event.split("\n").find((line) => line.startsWith("data: "));
        if (data === undefined) continue;
        last = JSON.parse(data.slice(6));
        if (last.error) throw new Error(last.error);
        heard(last);
      }
    }
  }

  function fieldsOf(form) {
    const found = form.dataset.fields ? JSON.parse(form.dataset.fields) : {};
    for (const field of form.elements) {
      if (!field.name || field.disabled) continue;
      if (field.type === "checkbox") found[field.name] = field.checked;
      else if (field.type === "number") { if (field.value !== "") found[field.name] = Number(field.value); }
      else if (field.value !== "") found[field.name] = field.value;
    }
    return found;
  }

  // Runs work while the buttons of the form are off; an error is said.
  async function busy(form, work) {
    const buttons = [...form.querySelectorAll("button:enabled:not([type=button])")], focused = document.activeElement;
    buttons.forEach((button) => { button.disabled = true; });
    try {
      return await work();
    } catch (error) {
      say(error.message, true);
      return undefined;
    } finally {
      buttons.forEach((button) => { button.disabled = false; });
      if (document.activeElement === document.body && focused?.isConnected) focused.focus();
    }
  }

  async function submit(form) {
    if (form.dataset.confirm && !(await ask(form.dataset.confirm))) return;
    const [method, path] = form.dataset.call.split(" ");
    say("");
    let kept;
    const heard = (each) => {
      if (form.dataset.keep in each) kept = each;
      if ("reconnecting" in each) say(`${each.reconnecting.asked} of ${each.reconnecting.total} connections were told to reconnect.`);
    };
    const last = await busy(form, () => "stream" in form.dataset
      ? stream(method, path, fieldsOf(form), heard) : call(method, path, fieldsOf(form)));
    if (last === undefined) return;
    if ("stream" in form.dataset && !kept && !last?.finished) { say("It ended early. Part of the change may be done.", true); return; }
    const answer = kept || last;
    if (form.dataset.then) { location.assign(form.dataset.then); return; }
    if (form.dataset.done) say(form.dataset.done);
    if (form.dataset.show) show(byId(form.dataset.show), answer);
    refresh();
  }

  function show(place, answer) {
    const done = answer.done || answer, changes = (done.changes || []).map((change) => change.text);
    const lines = [RESULTS[done.result] ?? done.result, done.told, ...(done.notes || []), ...changes];
    if (done.result === "valid" && !changes.length) lines.push("Nothing would change.");
    const text = document.createElement("pre");
    text.tabIndex = 0;
    text.textContent = lines.filter(Boolean).join("\n");
    place.replaceChildren(text);
  }

  const RESULTS = {
    valid: "The file has no mistakes.", unchanged: "The file has not changed.", reloaded: "The file is reloaded.",
    mistakes: "The file has mistakes:", failed: "The reload has failed:",
  };

  // Fetches the page again and puts its sections in place of those here, where they differ. The script keeps nothing.
  // One request at a time: a gateway that hangs does not fill up with them.
  async function refresh(sections = [...document.querySelectorAll("section[data-refresh]")]) {
    if (!sections.length || document.hidden || isFetching) return;
    isFetching = true;
    try {
      await replace(sections);
      if (isOld) say("");
      isOld = false;
    } catch {
      say("The gateway does not answer: these figures are old.", true);
      isOld = true;
    } finally {
      isFetching = false;
    }
  }

  async function replace(sections) {
    const options = { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(PATIENCE) };
    const response = await fetch(location.href, options);
    if (!response.ok) throw new Error(response.status);
    if (response.redirected) { location.reload(); return; }
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (fresh.documentElement.dataset.release !== document.documentElement.dataset.release) {
      if (!isTouched && !document.querySelector("dialog[open]")) location.reload();
      else say("The gateway has a new release: load this page again.", true);
      return;
    }
    for (const section of sections) {
      const other = fresh.getElementById(section.id);
      if (!other || other.innerHTML === section.innerHTML) continue;
      const inside = section.contains(document.activeElement) ? place(section, document.activeElement) : null;
      section.replaceChildren(...[...other.childNodes].map((node) => document.importNode(node, true)));
      if (inside !== null) section.querySelectorAll(FOCUSABLE)[inside]?.focus();
    }
  }
  const PATIENCE = 10000;
  let isOld = false, isFetching = false, isTouched = false;
  const FOCUSABLE = "a[href], button, input, select, pre[tabindex]";
  const place = (section, element) => [...section.querySelectorAll(FOCUSABLE)].indexOf(element);

  document.addEventListener("input", () => { isTouched = true; });  // what was written is lost with the page
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.call === undefined) return;
    event.preventDefault();
    submit(event.target);
  });
  // One timer for all sections; 0 means only after a change.
  const every = [...document.querySelectorAll("section[data-refresh]")].map((section) => Number(section.dataset.refresh)).filter(Boolean);
  if (every.length) {
    setInterval(() => refresh(), 1000 * Math.min(...every));
    document.addEventListener("visibilitychange", () => refresh());
  }
  // The browser may show a page again as it was left: what it lists may be gone.
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  return { say, ask, call, stream, fieldsOf, busy, refresh };
})();
