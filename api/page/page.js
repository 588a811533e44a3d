// The page: filters, what they show, and what comes in meanwhile.
import { ask, listen, request } from "./ask.js";
import { Drawer } from "./drawer.js";
import { Catalogue, cellsOf, emptyCell, Matrix } from "./matrix.js";
import { clock, count, make, moment, shown, tags } from "./text.js";

const element = (id) => document.getElementById(id);
const form = element("filters");
const maxTicks = 100;

let catalogue;
let matrix;
let drawer;
let rows = [];
let fetching; // the AbortController of the rollup under way
let stale; // the timer until the rollup is fetched again
const ticks = { list: [], waiting: 0, paused: false };

// filters is what the form says.
function filters() {
  const data = Object.fromEntries(new FormData(form));
  const values = { decky: data.decky, min_confidence: Number(data.min_confidence) || "" };
  if (data.since === "custom") {
    values.since = instant(data.from);
    values.until = instant(data.until);
  } else {
    values.since = data.since;
  }
  return { scope: data.id ? data.scope : "", id: data.id, ics: data.domain === "ics-attack", domain: data.domain, everything: Boolean(data.everything), values };
}

function instant(local) {
  return local ? new Date(local).toISOString() : "";
}

function scoped(prefix, fleet, f) {
  return f.scope ? `${prefix}${f.scope}/${encodeURIComponent(f.id)}` : fleet;
}

// show fetches the rollup that the filters ask for and draws it. It is read out
// if somebody asked for it; what comes by itself would only interrupt.
async function show({ asked = false } = {}) {
  clearTimeout(stale);
  stale = undefined;
  fetching?.abort();
  fetching = new AbortController();
  const f = filters();
  element("matrix").setAttribute("aria-busy", "true");
  try {
    rows = await ask(scoped("by-", "techniques", f), f.values, fetching.signal);
    trouble("");
    draw();
    if (asked) element("said").textContent = `${tags(rows.reduce((sum, r) => sum + r.count, 0))} of ${count(rows.length)} techniques shown.`;
  } catch (error) {
    if (error.name === "AbortError") return;
    trouble(`Not up to date: ${error.message}`);
    refreshSoon(10_000);
  }
  element("matrix").removeAttribute("aria-busy");
}

function refreshSoon(delay) {
  stale ??= setTimeout(() => show(), delay);
}

function draw() {
  const f = filters();
  const focused = document.activeElement?.closest?.("button.cell")?.dataset.key;
  matrix.draw(cellsOf(catalogue, rows), f);
  if (focused) matrix.buttons.get(focused)?.button.focus();
  figures(f);
}

function figures(f) {
  const ofMatrix = rows.filter((r) => (catalogue.tactic(r.tactic)?.ics ?? f.ics) === f.ics);
  const total = ofMatrix.reduce((sum, r) => sum + r.count, 0);
  element("figure-tags").textContent = count(total);
  element("figure-techniques").textContent = count(new Set(ofMatrix.map((r) => r.sub_technique_id ?? r.technique_id)).size);
  element("figure-tactics").textContent = count(new Set(ofMatrix.map((r) => r.tactic)).size);
  const last = ofMatrix.reduce((latest, r) => (r.last_seen > latest ? r.last_seen : latest), "");
  element("figure-last").replaceChildren(last ? moment(last) : "–");
  const empty = element("empty");
  empty.hidden = total > 0;
  element("matrix").hidden = total === 0 && !f.everything;
  const elsewhere = rows.length > ofMatrix.length;
  empty.textContent = elsewhere ? "Nothing in this matrix; the other one has tags." : narrowed() ? "No tags match the filters." : "No tags yet. They appear here as soon as the worker stores any.";
}

// narrowed reports whether a filter is set.
function narrowed() {
  const f = filters();
  return Boolean(f.scope || Object.values(f.values).some(Boolean));
}

function trouble(text) {
  element("trouble").textContent = text;
  element("trouble").hidden = !text;
}

// --- filters ---

// The filters stand in the address, so that a view can be kept and sent.
function remember() {
  const data = new URLSearchParams(new FormData(form));
  for (const [name, value] of [...data]) {
    if (!value || (name === "min_confidence" && value === "0") || (name === "domain" && value === "enterprise-attack")) data.delete(name);
  }
  history.replaceState(null, "", data.size ? `#${data}` : location.pathname);
}

function recall() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const field = form.elements[name];
    if (!field) continue;
    if (field.type === "checkbox") field.checked = true;
    else field.value = value;
  }
}

function arrange() {
  const data = new FormData(form);
  element("id-label").hidden = !data.get("scope");
  for (const node of form.querySelectorAll(".custom")) node.hidden = data.get("since") !== "custom";
  element("confidence-text").textContent = Number(data.get("min_confidence")).toFixed(2);
  element("clear").hidden = !narrowed();
}

function changed() {
  arrange();
  remember();
  drawTicks();
  show({ asked: true });
}

function narrow(name, value) {
  if (name === "decky") form.elements.decky.value = value;
  else {
    form.elements.scope.value = name;
    form.elements.id.value = value;
  }
  changed();
}

function prepareFilters() {
  let typing;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    arrange();
    clearTimeout(typing);
    typing = setTimeout(changed, 300);
  });
  element("clear").addEventListener("click", () => {
    form.reset();
    changed();
    form.elements.scope.focus();
  });
  window.addEventListener("hashchange", () => {
    form.reset();
    recall();
    changed();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select, dialog")) {
      event.preventDefault();
      form.elements.decky.focus();
    }
  });
}

// suggest offers a value in a list of suggestions, the latest first.
function suggest(listID, value) {
  const list = element(listID);
  if (!value || [...list.children].some((o) => o.value === value)) return;
  list.prepend(make("option", { value }));
  while (list.children.length > 50) list.lastChild.remove();
}

// --- what comes in ---

function heard(live) {
  for (const tag of live.tags) tick({ ...tag, at: live.at, decky_id: live.decky_id, attacker_uuid: live.attacker_uuid, identity_uuid: live.identity_uuid, session_id: live.session_id });
  drawTicks();
  const f = filters();
  if (f.scope === "identity" || f.scope === "campaign") refreshSoon(3000); // only the server knows whose it is
  else for (const tag of live.tags.filter((t) => passes({ ...live, ...t }, f))) gain(tag, live.at);
}

// passes reports whether a tag that came in is one that the filters let through.
function passes(tag, f) {
  const of = { attacker: tag.attacker_uuid, identity: tag.identity_uuid, session: tag.session_id };
  return (!f.scope || f.scope === "campaign" || of[f.scope] === f.id) && (!f.values.decky || f.values.decky === tag.decky_id) &&
    tag.confidence >= (f.values.min_confidence || 0) && (!f.values.until || tag.at < f.values.until);
}

// gain counts a tag that came in where it is drawn; one of a technique that was
// not there before makes the matrix be drawn anew.
function gain(tag, at) {
  const same = rows.find((r) => r.technique_id === tag.technique_id && r.sub_technique_id === tag.sub_technique_id && r.tactic === tag.tactic);
  if (!same) {
    refreshSoon(500);
    return;
  }
  same.count++;
  same.last_seen = at;
  const { id, tactic } = catalogue.place(same);
  if (!matrix.grow(tactic, id, 1)) refreshSoon(500);
  figures(filters());
}

// held reports whether the list must stay as it is: somebody reads it, is about
// to click, or has the focus in it.
function held() {
  return ticks.paused || element("ticks").matches(":hover, :focus-within");
}

function tick(tag) {
  ticks.waiting++;
  suggest("deckies", tag.decky_id);
  suggest("ids", tag.identity_uuid);
  suggest("ids", tag.attacker_uuid);
  ticks.list.unshift(tag);
  ticks.list.length = Math.min(ticks.list.length, maxTicks);
}

function drawTicks() {
  if (held()) {
    element("waiting").textContent = ticks.waiting ? `${count(ticks.waiting)} new` : "";
    return;
  }
  ticks.waiting = 0;
  element("waiting").textContent = "";
  const f = filters();
  const list = ticks.list.filter((t) => passes(t, f)).slice(0, 40);
  element("ticks").replaceChildren(...list.map((t) => {
    const id = t.sub_technique_id ?? t.technique_id;
    const tactic = catalogue.tactic(t.tactic) ?? { id: t.tactic, name: t.tactic };
    return make("li", {}, make("button", { type: "button", onclick: () => openTick(t, tactic) },
      make("time", { datetime: t.at }, clock(t.at)), make("span", { class: "tick-name" }, make("b", {}, id), " ", catalogue.name(id)),
      make("span", { class: "tick-decky" }, ...shown(t.decky_id ?? "")), make("code", {}, ...shown(t.excerpt))));
  }));
}

function openTick(tag, tactic) {
  const { id, tactic: drawn } = catalogue.place({ ...tag, successor_id: rows.find((r) => r.technique_id === tag.technique_id && r.sub_technique_id === tag.sub_technique_id)?.successor_id });
  const found = matrix.buttons.get(`${drawn} ${id}`);
  if (found) drawer.open(found.cell, found.tactic);
  else drawer.open(emptyCell(id, tactic.id), tactic);
}

// firstTicks shows what was stored last before the page was opened.
async function firstTicks() {
  const list = await ask("tags", { limit: 40 });
  for (const t of list.reverse()) {
    const text = t.evidence.command_text ?? t.evidence.match ?? JSON.stringify(t.evidence);
    tick({ ...t, at: t.created_at, excerpt: String(text).slice(0, 240) });
  }
  drawTicks();
}

function lively(on) {
  element("live").dataset.state = on ? "on" : "off";
  element("live-text").textContent = on ? "live" : "not live";
  if (on) show(); // what came meanwhile
}

// --- the rest ---

function prepareTheme() {
  const button = element("theme");
  const choices = ["", "light", "dark"];
  const say = { "": "as the system says", light: "light", dark: "dark" };
  const set = (choice) => {
    document.documentElement.dataset.theme = choice;
    button.setAttribute("aria-label", `Colours: ${say[choice]}`);
    button.title = `Colours: ${say[choice]}`;
    localStorage.setItem("theme", choice);
  };
  set(localStorage.getItem("theme") ?? "");
  button.addEventListener("click", () => set(choices[(choices.indexOf(document.documentElement.dataset.theme) + 1) % choices.length]));
}

function prepareExport() {
  for (const button of document.querySelectorAll("[data-export]")) {
    button.addEventListener("click", async () => {
      const f = filters();
      const kind = button.dataset.export;
      const path = kind === "techniques" ? scoped("by-", "techniques", f) : scoped(`export/${kind}/`, `export/${kind}`, f);
      const values = kind === "navigator" ? { ...f.values, domain: f.domain } : f.values;
      element("more").open = false;
      try {
        const blob = await (await request(path, values)).blob();
        const link = make("a", { href: URL.createObjectURL(blob), download: `ttp-${kind}-${f.scope || "fleet"}.json` });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      } catch (error) {
        trouble(`Not exported: ${error.message}`);
      }
    });
  }
}

function prepareTicker() {
  const button = element("pause");
  button.addEventListener("click", () => {
    ticks.paused = !ticks.paused;
    button.setAttribute("aria-pressed", String(ticks.paused));
    drawTicks();
  });
  element("ticks").addEventListener("pointerleave", drawTicks);
  element("ticks").addEventListener("focusout", () => setTimeout(drawTicks)); // the focus may only move on
}

async function start() {
  prepareTheme();
  recall();
  catalogue = new Catalogue(await ask("matrix"));
  drawer = new Drawer(element("drawer"), {
    catalogue,
    narrow,
    pathOf: (technique, tactic) => {
      const f = filters();
      return { path: f.scope ? `tags/by-${f.scope}/${encodeURIComponent(f.id)}/${technique}` : `tags/${technique}`, values: { ...f.values, tactic: catalogue.tactic(tactic) ? tactic : "" } };
    },
  });
  matrix = new Matrix(element("matrix"), catalogue, (cell, tactic) => drawer.open(cell, tactic));
  prepareFilters();
  prepareExport();
  prepareTicker();
  arrange();
  await show({ asked: true });
  await firstTicks();
  document.documentElement.dataset.ready = "yes";
  listen(heard, lively);
}

start().catch((error) => trouble(`This page does not work: ${error.message}`));
