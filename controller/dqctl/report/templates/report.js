// Makes the tables searchable, sortable and long. Text goes in as text (textContent), never as markup.
"use strict";
(() => {
  const PAGE = 200;
  const { texts, tables } = JSON.parse(document.getElementById("data").textContent);
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const figure = (text) => {
    const value = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(value) ? -Infinity : value;
  };

  const setUp = (section) => {
    const all = tables[section.id];
    const form = section.querySelector("form");
    const body = section.querySelector("tbody");
    const model = section.querySelector("template").content.querySelector("tr");
    const more = section.querySelector("p.more[hidden]");
    const buttons = [...section.querySelectorAll("thead button")];
    const figures = buttons.map((button) => button.parentElement.classList.contains("figures"));
    const width = buttons.length - 1;
    const boxes = [...form.querySelectorAll("input[type=checkbox]")];
    const badges = new Map(boxes.map((box) => [Number(box.value), box.parentElement]));
    const selects = [...form.querySelectorAll("select")];
    const search = form.querySelector("input[type=search]");
    const cell = (row, column) => texts[row[column + 1]];
    const words = new Map();
    let shown = all;
    let drawn = 0;
    let order = null;

    // What a reader may look for in a row, folded-away facts included; made when it is first asked for.
    const haystack = (row) => {
      let text = words.get(row);
      if (text === undefined) {
        text = row.slice(1).map((number) => texts[number]).join("\n").toLowerCase();
        words.set(row, text);
      }
      return text;
    };

    const unfold = (event) => {
      const details = event.target;
      const list = details.querySelector("dl");
      if (!details.open || list.childElementCount) return;
      const row = details.row;
      for (let at = width + 1; at < row.length; at += 2) {
        const [pair, label, value] = ["div", "dt", "dd"].map((name) => document.createElement(name));
        label.textContent = texts[row[at]];
        value.textContent = texts[row[at + 1]];
        pair.append(label, value);
        list.append(pair);
      }
    };

    const line = (row) => {
      const copy = model.cloneNode(true);
      const cells = copy.children;
      const [icon, word] = [copy.querySelector(".badge svg"), copy.querySelector(".badge span")];
      const chip = badges.get(row[0]);
      const kind = chip.classList[1];
      copy.querySelector(".badge").className = `badge ${kind}`;
      icon.setAttribute("class", `icon ${kind}`);
      icon.firstElementChild.setAttribute("href", `#i-${kind}`);
      word.textContent = chip.dataset.word;
      for (let column = 0; column < width - 1; column += 1) cells[column + 1].textContent = cell(row, column);
      const details = copy.querySelector("details");
      details.row = row;
      details.querySelector("summary span").textContent = cell(row, width - 1);
      details.addEventListener("toggle", unfold);
      return copy;
    };

    const draw = () => {
      const lines = document.createDocumentFragment();
      for (const row of shown.slice(drawn, drawn + PAGE)) lines.append(line(row));
      body.append(lines);
      drawn = Math.min(shown.length, drawn + PAGE);
      more.hidden = drawn >= shown.length;
    };

    const refresh = () => {
      const kinds = new Set(boxes.filter((box) => box.checked).map((box) => Number(box.value)));
      const chosen = selects.filter((select) => select.value).map((s) => [Number(s.dataset.column), s.value]);
      const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      shown = all.filter((row) =>
        (!kinds.size || kinds.has(row[0])) &&
        chosen.every(([column, value]) => cell(row, column) === value) &&
        terms.every((term) => haystack(row).includes(term)));
      if (order) {
        const { column, down } = order;
        const numbers = figures[column + 1];
        const compare = column < 0 ? (a, b) => a[0] - b[0]
          : numbers ? (a, b) => figure(cell(a, column)) - figure(cell(b, column))
          : (a, b) => collator.compare(cell(a, column), cell(b, column));
        shown = [...shown].sort(down ? (a, b) => compare(b, a) : compare);
      }
      body.textContent = "";
      drawn = 0;
      draw();
      form.querySelector("output").textContent = shown.length === all.length
        ? `${all.length.toLocaleString("en")} shown`
        : `${shown.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} shown`;
    };

    for (const select of selects) {
      const values = new Set(all.map((row) => cell(row, Number(select.dataset.column))));
      for (const value of [...values].sort(collator.compare)) select.append(new Option(value, value));
    }
    for (const button of buttons) {
      button.addEventListener("click", () => {
        const column = button.dataset.column === "badge" ? -1 : Number(button.dataset.column);
        const same = order && order.column === column;
        order = same ? (order.down ? null : { column, down: true }) : { column, down: false };
        for (const other of buttons) other.parentElement.removeAttribute("aria-sort");
        if (order) button.parentElement.setAttribute("aria-sort", order.down ? "descending" : "ascending");
        refresh();
      });
    }
    let waiting = 0;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(refresh, 120);
    });
    form.addEventListener("change", refresh);
    form.addEventListener("submit", (event) => event.preventDefault());
    more.querySelector("button").addEventListener("click", draw);
    new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && draw(), { rootMargin: "600px" })
      .observe(more);
    for (const link of document.querySelectorAll(`a[href="#${section.id}"][data-choose]`)) {
      link.addEventListener("click", () => {
        selects[0].value = link.dataset.choose;
        refresh();
      });
    }
    form.hidden = false;
    refresh();
  };

  document.querySelectorAll("section.grid").forEach(setUp);
})();
