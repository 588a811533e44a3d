// The drawer: the tags of one technique, with what the attackers wrote.
import { askPage } from "./ask.js";
import { count, make, moment, plain, shown, tags } from "./text.js";

const pageSize = 25;
const mostRules = 12;

export class Drawer {
  constructor(dialog, { catalogue, pathOf, narrow }) {
    this.dialog = dialog;
    this.body = dialog.querySelector("#drawer-body");
    this.catalogue = catalogue;
    this.pathOf = pathOf; // of the tags of a technique, and the filters
    this.narrow = narrow; // sets a filter
    dialog.querySelector("#drawer-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // beside the drawer
    });
    dialog.addEventListener("close", () => this.work?.abort());
  }

  open(cell, tactic) {
    this.work?.abort();
    this.work = new AbortController();
    const known = this.catalogue.techniques.get(cell.id);
    const parent = cell.id.includes(".") ? `${this.catalogue.name(cell.id.split(".")[0])}: ` : "";
    this.dialog.querySelector("#drawer-id").replaceChildren(`${cell.id} · `, ...shown(tactic.name));
    this.dialog.querySelector("#drawer-title").replaceChildren(...shown(parent + this.catalogue.name(cell.id)));
    this.list = make("ol", { class: "tags" });
    this.more = make("button", { type: "button", hidden: true, onclick: () => this.next() }, "Show more");
    this.said = make("p", { role: "status" });
    this.body.replaceChildren(this.summary(cell, known), this.list, this.said, this.more);
    this.sources = [...cell.sources.values()].map((s) => ({ ...s, after: "" }));
    if (!this.dialog.open) this.dialog.showModal();
    this.body.scrollTop = 0;
    if (cell.count) this.next();
    else this.said.textContent = "None of its tags match the filters.";
  }

  summary(cell, known) {
    const rules = [...cell.rules].sort((a, b) => b[1] - a[1]);
    const facts = make("dl", { class: "facts" }, ...fact("Tags", count(cell.count)));
    if (cell.count) {
      facts.append(...fact("First", moment(cell.first)), ...fact("Last", moment(cell.last)), ...fact("Confidence up to", cell.confidence.toFixed(2)));
    }
    if (cell.identities) facts.append(...fact("Identities", count(cell.identities)));
    if (rules.length) {
      const chips = rules.slice(0, mostRules).map(([id, n]) => make("span", { class: "chip" }, ...shown(id), ` ${count(n)}`));
      if (rules.length > mostRules) chips.push(make("span", {}, `and ${rules.length - mostRules} more`));
      facts.append(...fact("Rules", make("div", { class: "where" }, ...chips)));
    }
    const link = known?.url?.startsWith("https://attack.mitre.org/")
      ? make("p", {}, make("a", { href: known.url, target: "_blank", rel: "noopener noreferrer" }, "What MITRE says about it ↗"))
      : null;
    return make("div", {}, link, facts);
  }

  // next fetches a page of each source that has more.
  async next() {
    const work = this.work;
    this.more.disabled = true;
    this.said.textContent = "Fetching …";
    try {
      for (const source of this.sources.filter((s) => s.after !== undefined)) {
        const { path, values } = this.pathOf(source.technique, source.tactic);
        const { list, next } = await askPage(path, { ...values, limit: pageSize, after: source.after }, work.signal);
        this.list.append(...list.map((tag) => this.tag(tag)));
        this.list.querySelectorAll("pre:not([tabindex])").forEach(scrollable);
        source.after = next || undefined;
      }
      const left = this.sources.some((s) => s.after !== undefined);
      this.said.textContent = `${tags(this.list.children.length)} shown${left ? "" : ", that is all"}.`;
      this.more.hidden = !left;
    } catch (error) {
      if (error.name !== "AbortError") this.said.textContent = `Not fetched: ${error.message}`;
    } finally {
      this.more.disabled = false;
    }
  }

  tag(tag) {
    const where = make("p", { class: "where" });
    for (const [name, value] of [["decky", tag.decky_id], ["attacker", tag.attacker_uuid], ["identity", tag.identity_uuid], ["session", tag.session_id]]) {
      if (value) where.append(make("button", { type: "button", class: "chip", title: `Show only this ${name}: ${plain(value)}`, onclick: () => this.narrowTo(name, value) }, `${name} `, make("span", {}, ...shown(value))));
    }
    const evidence = Object.entries(tag.evidence);
    return make(
      "li",
      {},
      make("p", { class: "head" }, moment(tag.created_at), make("span", { class: "chip" }, ...shown(tag.rule_id), ` v${tag.rule_version}`), make("span", {}, `${tag.sub_technique_id ?? tag.technique_id}, confidence ${tag.confidence.toFixed(2)}`)),
      where,
      evidence.length ? make("dl", { class: "evidence" }, ...evidence.flatMap(([name, value]) => fact(name, make("pre", { dir: "ltr" }, ...shown(textOf(value)))))) : make("p", {}, "no evidence"),
    );
  }

  narrowTo(name, value) {
    this.dialog.close();
    this.narrow(name, value);
  }
}

function fact(name, value) {
  return [make("dt", {}, ...shown(name)), make("dd", {}, value)];
}

// scrollable lets the keyboard into a text that is longer than its box.
function scrollable(box) {
  if (box.scrollHeight <= box.clientHeight) return;
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", `${box.closest("dd").previousSibling.textContent}, a long text`);
}

function textOf(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
