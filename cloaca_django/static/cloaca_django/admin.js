/* What moves on the pages of cloaca_django: counters, regions that are fetched again, the number
   of new runs above a list. Without it every page is complete and stands still. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const page = document.querySelector("[data-cloaca-page]");
  if (!page) return;
  const says = page.querySelector("[role=status]");
  const chooser = page.querySelector("[data-cloaca-interval]");
  const text = (name) => page.dataset[name] || "";
  const FLOOR = 2000;
  const SLOWEST = 60000;

  // The server's clock counts: how far this one is off is known from the page itself.
  const skew = page.dataset.now ? Date.parse(page.dataset.now) - Date.now() : 0;

  const two = (number) => String(number).padStart(2, "0");
  function span(seconds) {
    const [d, h, m, s] = (page.dataset.units || "d h m s").split(" ");
    const whole = Math.max(0, Math.floor(seconds));
    if (whole < 60) return `${whole} ${s}`;
    if (whole < 3600) return `${Math.floor(whole / 60)} ${m} ${two(whole % 60)} ${s}`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} ${h} ${two(Math.floor((whole % 3600) / 60))} ${m}`;
    return `${Math.floor(whole / 86400)} ${d} ${Math.floor((whole % 86400) / 3600)} ${h}`;
  }
  function tick() {
    const now = Date.now() + skew;
    for (const one of page.querySelectorAll("[data-cloaca-since]")) {
      one.textContent = span((now - Date.parse(one.dataset.cloacaSince)) / 1000);
    }
  }

  // Regions

  let etag = page.dataset.etag || "";
  let failures = 0;

  function swap(fresh) {
    for (const region of page.querySelectorAll("[data-cloaca-live]")) {
      const name = region.dataset.cloacaLive;
      const next = fresh.querySelector(`[data-cloaca-live="${name}"]`);
      if (!next || region.isEqualNode(next)) continue;
      if (region.contains(document.activeElement)) {
        keepFocus(region, next);
      } else {
        replace(region, next);
      }
    }
    offerCopies();
    tick();
  }
  function keepFocus(region, next) {
    const link = document.activeElement.getAttribute("href");
    const id = document.activeElement.id;
    replace(region, next);
    const again = id ? document.getElementById(id)
      : [...next.querySelectorAll("a")].find((one) => one.getAttribute("href") === link);
    if (again) again.focus({ preventScroll: true });
  }
  function replace(region, next) {
    for (const box of region.querySelectorAll("details[id]")) {
      const twin = next.querySelector(`details[id="${CSS.escape(box.id)}"]`);
      if (twin) twin.open = box.open;
    }
    const places = [...region.querySelectorAll("[data-cloaca-scroll]")]
      .map((box) => [box.dataset.cloacaScroll, box.scrollLeft, box.scrollTop]);
    region.replaceWith(next);
    for (const [name, left, top] of places) {
      const box = next.querySelector(`[data-cloaca-scroll="${name}"]`);
      if (box) { box.scrollLeft = left; box.scrollTop = top; }
    }
  }

  async function look() {
    const headers = { "X-Cloaca-Live": "1" };
    // The admin forbids the browser to store its pages, so the tag is kept here.
    if (etag) headers["If-None-Match"] = etag;
    const answer = await fetch(location.href, { headers, cache: "no-store", credentials: "same-origin" });
    if (answer.status === 304) return true;
    if (answer.redirected && new URL(answer.url).pathname !== location.pathname) {
      say(text("signedOut"));
      return false;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    etag = answer.headers.get("ETag") || "";
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    swap(fresh);
    const now = fresh.querySelector("[data-cloaca-page]");
    if (now && !now.dataset.poll) {
      say(now.dataset.ended || "");
      return false;
    }
    return true;
  }

  // The list: what is new is counted, and the rows stay where they are.

  const banner = document.querySelector("[data-cloaca-changes]");
  async function count() {
    if (document.querySelector("#result_list input.action-select:checked")) return true;
    const answer = await fetch(banner.dataset.cloacaChanges, { credentials: "same-origin" });
    if (answer.redirected) return false;
    if (!answer.ok) throw new Error(String(answer.status));
    const found = await answer.json();
    banner.hidden = !found.text;
    banner.querySelector("[data-cloaca-text]").textContent = found.text;
    return true;
  }

  // What may be copied: a text of the button's own, else the code beside it.

  function offerCopies() {
    for (const button of page.querySelectorAll("[data-cloaca-copy]")) button.hidden = false;
  }
  async function copy(words) {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(words);
      return;
    }
    // A page that came over plain HTTP has no clipboard.
    const box = document.createElement("textarea");
    box.value = words;
    page.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }

  // When

  function say(words) {
    if (says && says.textContent !== words) says.textContent = words;
  }
  function stored() {
    try { return localStorage.getItem("cloaca-interval"); } catch { return null; }
  }
  function interval() {
    const own = Number(page.dataset.poll || 0);
    if (!own) return 0;
    const chosen = chooser ? chooser.value : "";
    if (chosen === "off") return 0;
    return Math.max(FLOOR, chosen ? Number(chosen) * 1000 : own);
  }

  let timer = 0;
  function plan() {
    clearTimeout(timer);
    const wait = interval();
    if (wait) timer = setTimeout(turn, Math.min(SLOWEST, wait * 2 ** failures));
  }
  let lastNews = new Date();
  async function turn() {
    if (document.hidden) return;
    let more = true;
    try {
      more = await (banner ? count() : look());
      failures = 0;
      lastNews = new Date();
      if (more) say("");
    } catch {
      failures = Math.min(5, failures + 1);
      say(`${text("stale")} ${lastNews.toLocaleTimeString()}`);
    }
    if (more) plan();
  }

  if (chooser) {
    const kept = stored();
    if (kept !== null && [...chooser.options].some((one) => one.value === kept)) chooser.value = kept;
    chooser.parentElement.hidden = !page.dataset.poll;
    chooser.addEventListener("change", () => {
      try { localStorage.setItem("cloaca-interval", chooser.value); } catch { /* private window */ }
      plan();
    });
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) plan(); });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-cloaca-copy]");
    if (!button) return;
    const pieces = button.parentElement.querySelectorAll("pre");
    await copy(button.dataset.cloacaCopy || [...pieces].map((one) => one.textContent).join("\n"));
    say(text("copied"));
  });
  offerCopies();
  setInterval(tick, 1000);
  tick();
  plan();
});

// The form of a schedule: what it does is told again while somebody types, and the workflow that is
// chosen brings its own fields.
document.addEventListener("DOMContentLoaded", () => {
  const box = document.querySelector("[data-cloaca-preview]");
  const form = document.querySelector("#cronschedule_form");
  const fields = form && form.elements;
  if (!box || !form || !fields.cron_expression) return;

  function follower(region, url, names) {
    let timer = 0;
    let asked = 0;
    async function show() {
      const turn = ++asked;
      const given = new URLSearchParams(names.map((name) => [name, fields[name]?.value || ""]));
      try {
        const answer = await fetch(`${url}?${given}`, { credentials: "same-origin" });
        if (!answer.ok || answer.redirected) return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        // An answer that was overtaken by a later one says nothing.
        if (turn === asked) region.replaceChildren(...fresh.body.childNodes);
      } catch { /* what was there stays */ }
    }
    form.addEventListener("input", (event) => {
      if (!names.includes(event.target.name)) return;
      clearTimeout(timer);
      timer = setTimeout(show, 250);
    });
    return show;
  }
  const preview = follower(
    box, box.dataset.cloacaPreview, ["cron_expression", "timezone", "start_date", "end_date"]);
  if (fields.cron_expression.value) preview();
  const inputs = document.querySelector("[data-cloaca-inputs]");
  if (inputs && fields.context) follower(inputs, inputs.dataset.cloacaInputs, ["workflow_name"]);

  for (const buttons of document.querySelectorAll("[data-cloaca-usual]")) {
    buttons.hidden = false;
    buttons.addEventListener("click", (event) => {
      const expression = event.target.dataset.cloacaFill;
      if (!expression) return;
      fields.cron_expression.value = expression;
      fields.cron_expression.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }
  // A list of suggestions shows what fits the text: a name that is there is replaced by typing.
  for (const field of form.querySelectorAll("input[list=cloaca-zones], input[list=cloaca-workflows]")) {
    field.addEventListener("focus", () => field.select());
  }
});
