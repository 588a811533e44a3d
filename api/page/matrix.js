// The matrix: columns of tactics, cells of techniques, heat by count.
import { count, make, plain, shown, tags } from "./text.js";

const levels = 8;

// Catalogue is what the server's ATT&CK tables say.
export class Catalogue {
  constructor(data) {
    this.tactics = data.tactics;
    this.techniques = new Map(data.techniques.map((t) => [t.id, t]));
    this.subs = new Map();
    for (const t of data.techniques) {
      const [parent, sub] = t.id.split(".");
      if (sub) this.subs.set(parent, [...(this.subs.get(parent) ?? []), t.id]);
    }
  }

  name(id) {
    return this.techniques.get(id)?.name ?? id;
  }

  tactic(id) {
    return this.tactics.find((t) => t.id === id);
  }

  // place says where a rollup is drawn: what was revoked is what it is called
  // today, under a tactic that it has.
  place(row) {
    const own = row.sub_technique_id ?? row.technique_id;
    const id = row.successor_id ?? own;
    const known = this.techniques.get(id);
    const tactic = known && !known.tactics.includes(row.tactic) ? known.tactics[0] : row.tactic;
    return { id, tactic, own };
  }
}

// cellsOf adds rollups up to cells by tactic, then by technique; a cell of a
// technique has those of its sub-techniques.
export function cellsOf(catalogue, rows) {
  const columns = new Map();
  for (const row of rows) {
    const { id, tactic, own } = catalogue.place(row);
    const column = columns.get(tactic) ?? columns.set(tactic, new Map()).get(tactic);
    const parent = id.split(".")[0];
    const cell = column.get(parent) ?? column.set(parent, emptyCell(parent, tactic)).get(parent);
    add(cell, row, own);
    if (id !== parent) {
      const sub = cell.subs.get(id) ?? cell.subs.set(id, emptyCell(id, tactic)).get(id);
      add(sub, row, own);
    }
  }
  return columns;
}

export function emptyCell(id, tactic) {
  return { id, tactic, count: 0, confidence: 0, first: "", last: "", rules: new Map(), sources: new Map(), identities: 0, subs: new Map() };
}

function add(cell, row, own) {
  cell.count += row.count;
  cell.confidence = Math.max(cell.confidence, row.confidence_max);
  if (!cell.first || row.first_seen < cell.first) cell.first = row.first_seen;
  if (row.last_seen > cell.last) cell.last = row.last_seen;
  for (const rule of row.rules) cell.rules.set(rule.rule_id, (cell.rules.get(rule.rule_id) ?? 0) + rule.count);
  cell.sources.set(`${own} ${row.tactic}`, { technique: own, tactic: row.tactic });
  cell.identities = Math.max(cell.identities, row.identity_count ?? 0);
}

// breakable lets a name go on in the next line behind a slash.
function breakable(name) {
  const parts = name.split("/");
  return parts.flatMap((part, i) => (i < parts.length - 1 ? [...shown(`${part}/`), make("wbr")] : shown(part)));
}

// Matrix draws cells and lets the keyboard walk over them.
export class Matrix {
  constructor(node, catalogue, open) {
    this.node = node;
    this.catalogue = catalogue;
    this.open = open;
    this.at = ""; // the key of the cell that Tab leads to
    this.buttons = new Map();
    node.addEventListener("keydown", (event) => this.walk(event));
    node.addEventListener("focusin", (event) => this.focused(event.target.closest("button.cell")));
  }

  draw(columns, { ics, everything }) {
    this.buttons.clear();
    const most = Math.max(1, ...[...columns.values()].flatMap((c) => [...c.values()].map((cell) => cell.count)));
    this.heat = (n) => (n ? 1 + Math.min(levels - 1, Math.floor((levels * Math.log(n)) / Math.log(Math.max(most, 2) + 1))) : 0);
    const tactics = this.catalogue.tactics.filter((t) => t.ics === ics);
    const known = new Set(this.catalogue.tactics.map((t) => t.id));
    const others = [...columns.keys()].filter((id) => !known.has(id)).map((id) => ({ id, name: id, ics }));
    this.node.replaceChildren(...[...tactics, ...others].map((t) => this.column(t, columns.get(t.id) ?? new Map(), everything)));
    if (!this.buttons.has(this.at)) this.at = this.buttons.keys().next().value ?? "";
    this.buttons.get(this.at)?.button.setAttribute("tabindex", "0");
  }

  column(tactic, cells, everything) {
    const list = [...cells.values()].sort((a, b) => b.count - a.count || a.id.localeCompare(b.id));
    if (everything) {
      for (const t of this.catalogue.techniques.values()) {
        if (!t.id.includes(".") && t.tactics.includes(tactic.id) && !cells.has(t.id)) list.push(emptyCell(t.id, tactic.id));
      }
    }
    const total = list.reduce((sum, cell) => sum + cell.count, 0);
    const label = `tactic-${tactic.id}`;
    return make(
      "section",
      { class: "tactic", "aria-labelledby": label, "data-empty": String(list.length === 0), "data-tactic": tactic.id },
      make("h2", { id: label }, make("span", {}, ...shown(tactic.name)), make("small", {}, total ? tags(total) : "none")),
      make("ul", {}, ...list.map((cell) => this.item(cell, tactic))),
    );
  }

  item(cell, tactic) {
    const subs = [...cell.subs.values()].sort((a, b) => b.count - a.count || a.id.localeCompare(b.id));
    return make("li", {}, this.button(cell, tactic), subs.length ? make("ul", { class: "subs" }, ...subs.map((s) => make("li", {}, this.button(s, tactic)))) : null);
  }

  // button is named by what it shows and by what is there for ears alone.
  button(cell, tactic) {
    const name = this.catalogue.name(cell.id);
    const number = make("b");
    const more = make("span", { class: "unseen" });
    const button = make(
      "button",
      {
        type: "button", class: "cell", tabindex: "-1", "data-key": `${tactic.id} ${cell.id}`, title: `${cell.id} ${plain(name)}`,
        onclick: () => this.open(cell, tactic),
      },
      number, make("span", { class: "name" }, ...breakable(name)), more,
    );
    const entry = { button, number, more, cell, tactic };
    this.buttons.set(button.dataset.key, entry);
    this.say(entry);
    return button;
  }

  // say shows what a cell has come to.
  say({ button, number, more, cell, tactic }) {
    button.dataset.heat = this.heat(cell.count);
    const unit = make("span", { class: "unseen" }, cell.count === 1 ? " tag: " : cell.count ? " tags: " : "not seen: ");
    number.replaceChildren(cell.count ? count(cell.count) : "", unit);
    const confidence = cell.count ? `, highest confidence ${cell.confidence.toFixed(2)}` : "";
    more.textContent = `, ${cell.id}, ${plain(tactic.name)}${confidence}`;
  }

  // grow shows that a cell has gained tags, if it is there.
  grow(tactic, id, by) {
    for (const key of new Set([`${tactic} ${id}`, `${tactic} ${id.split(".")[0]}`])) {
      const found = this.buttons.get(key);
      if (!found) return false;
      found.cell.count += by;
      this.say(found);
      found.button.classList.remove("grown");
      void found.button.offsetWidth; // so that the animation begins anew
      found.button.classList.add("grown");
    }
    return true;
  }

  focused(button) {
    if (!button) return;
    this.buttons.get(this.at)?.button.setAttribute("tabindex", "-1");
    this.at = button.dataset.key;
    button.setAttribute("tabindex", "0");
  }

  walk(event) {
    const here = event.target.closest("button.cell");
    const steps = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0], Home: [0, -Infinity], End: [0, Infinity] };
    if (!here || !steps[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const columns = [...this.node.querySelectorAll(".tactic")].map((c) => [...c.querySelectorAll("button.cell")]).filter((c) => c.length);
    const x = columns.findIndex((c) => c.includes(here));
    const y = columns[x].indexOf(here);
    const [dx, dy] = steps[event.key];
    const column = columns[Math.max(0, Math.min(columns.length - 1, x + dx))];
    column[Math.max(0, Math.min(column.length - 1, y + dy))].focus();
  }
}
