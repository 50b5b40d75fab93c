// Makes the tables searchable, sortable and long. Text goes in as text (textContent), never as markup.
//
// A table may have a hundred thousand rows and more: only those near the window are in the document. They come and
// go in chunks, each a table body of its own; one that is far away is a single empty row of its height.
"use strict";
(() => {
  const CHUNK = 50, NEAR = "1200px", PRINTED = 2000;
  const WORDS = { F: "failed", E: "error", W: "warning", L: "log", P: "passed", "-": "not run" };
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const said = (number) => number.toLocaleString("en");
  const make = (name, ...inside) => {
    const element = document.createElement(name);
    element.append(...inside);
    return element;
  };
  const figure = (text) => {
    const value = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(value) ? -Infinity : value;
  };

  const unpack = async () => {
    const element = document.getElementById("data");
    const text = element.textContent;
    if (element.dataset.encoding === "plain") return JSON.parse(text);
    const packed = atob(text);
    const bytes = new Uint8Array(packed.length);
    for (let at = 0; at < packed.length; at += 1) bytes[at] = packed.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(element.dataset.encoding));
    return JSON.parse(await new Response(stream).text());
  };

  // For each text whether it holds a term: texts are many times fewer than cells.
  const finder = (texts) => {
    let lowered = null;
    return (term) => {
      lowered ??= texts.map((text) => text.toLowerCase());
      return Uint8Array.from(lowered, (text) => (text.includes(term) ? 1 : 0));
    };
  };

  const icon = (kind) => {
    const svg = document.querySelector("template").content.querySelector("svg").cloneNode(true);
    svg.setAttribute("class", `icon ${kind}`);
    svg.firstElementChild.setAttribute("href", `#i-${kind}`);
    return svg;
  };

  const setUp = (section, table, texts, find) => {
    const { badges, cells, shapes, shape, facts, runs = [], past, measures } = table;
    const size = badges.length, width = cells.length;
    const form = section.querySelector("form");
    const grid = section.querySelector("table.rows");
    const model = section.querySelector("template").content.querySelector("tr");
    const unprinted = section.querySelector(".unprinted");
    const buttons = [...grid.querySelectorAll("thead button")];
    const figures = buttons.map((button) => button.parentElement.classList.contains("figures"));
    const boxes = [...form.querySelectorAll("input[type=checkbox]")];
    const chips = new Map(boxes.map((box) => [Number(box.value), box.parentElement]));
    const selects = [...form.querySelectorAll("select")];
    const search = form.querySelector("input[type=search]");
    const cell = (row, column) => texts[cells[column][row]];
    const first = new Uint32Array(size + 1);
    for (let row = 0; row < size; row += 1) first[row + 1] = first[row] + shapes[shape[row]].length;
    const open = new Set();
    let shown = Uint32Array.from({ length: size }, (_, row) => row);
    let order = null;
    let chunks = [];
    let watcher = null;

    // What a test came to before, the oldest run first: a mark a run, tall where something was wrong.
    const strip = (row) => {
      const letters = texts[past[row]];
      const marks = [...letters].map((letter) => {
        const mark = make("i");
        mark.className = `mark ${letter === "-" ? "absent" : WORDS[letter]}`;
        return mark;
      });
      const found = make("span", ...marks);
      const counts = Object.keys(WORDS).map((letter) => [letters.split(letter).length - 1, WORDS[letter]]);
      found.className = "strip";
      found.setAttribute("role", "img");
      found.setAttribute("aria-label",
        `before: ${counts.filter(([number]) => number).map(([number, word]) => `${number} ${word}`).join(", ")}`);
      return found;
    };

    const history = (row) => {
      const letters = texts[past[row]];
      const items = runs.map((run, at) => {
        const word = WORDS[letters[at]];
        const measure = texts[measures[row * runs.length + at]];
        const item = make("li", letters[at] === "-" ? "" : icon(word), ` ${run}: ${word}${measure && `, ${measure}`}`);
        if (letters[at] !== "-") item.className = word;
        return item;
      });
      return make("div", make("dt", "Before"), make("dd", make("ol", ...items.reverse())));
    };

    const unfold = (row, list) => {
      if (list.childElementCount) return;
      shapes[shape[row]].forEach((label, at) => {
        list.append(make("div", make("dt", label), make("dd", texts[facts[first[row] + at]])));
      });
      if (runs.length) list.append(history(row));
    };

    const line = (place) => {
      const row = shown[place];
      const copy = model.cloneNode(true);
      const parts = copy.children;
      const chip = chips.get(badges[row]);
      const badge = copy.querySelector(".badge");
      const kind = chip.classList[1];
      copy.dataset.place = place;
      copy.setAttribute("aria-rowindex", place + 2);
      badge.className = `badge ${kind}`;
      badge.replaceChildren(icon(kind), " ", make("span", chip.dataset.word));
      if (runs.length) parts[0].append(strip(row));
      for (let column = 0; column < width - 1; column += 1) parts[column + 1].textContent = cell(row, column);
      const details = copy.querySelector("details");
      const list = details.querySelector("dl");
      details.querySelector("summary span").textContent = cell(row, width - 1);
      if (open.has(row)) {
        unfold(row, list);
        details.open = true;
      }
      details.addEventListener("toggle", () => {
        if (details.open) open.add(row);
        else open.delete(row);
        if (details.open) unfold(row, list);
      });
      return copy;
    };

    const draw = (chunk) => {
      if (chunk.drawn) return;
      const lines = document.createDocumentFragment();
      for (let place = chunk.from; place < chunk.to; place += 1) lines.append(line(place));
      chunk.body.replaceChildren(lines);
      chunk.body.removeAttribute("aria-hidden");
      chunk.drawn = true;
    };

    const fold = (chunk) => {
      if (chunk.drawn === false || chunk.body.contains(document.activeElement)) return;
      if (grid.classList.contains("printing")) return;
      const height = chunk.drawn ? chunk.body.getBoundingClientRect().height : (chunk.to - chunk.from) * (runs.length ? 59 : 41);
      const space = make("td");
      space.colSpan = width + 1;
      space.style.height = `${height}px`;
      const row = make("tr", space);
      row.className = "space";
      chunk.body.replaceChildren(row);
      chunk.body.setAttribute("aria-hidden", "true");
      chunk.drawn = false;
    };

    const layOut = () => {
      watcher?.disconnect();
      for (const body of grid.querySelectorAll("tbody")) body.remove();
      chunks = [];
      const bodies = document.createDocumentFragment();
      for (let from = 0; from < shown.length; from += CHUNK) {
        const chunk = { from, to: Math.min(shown.length, from + CHUNK), body: make("tbody"), drawn: null };
        chunk.body.setAttribute("role", "rowgroup");
        if (from) fold(chunk);
        else draw(chunk);
        chunks.push(chunk);
        bodies.append(chunk.body);
      }
      grid.append(bodies);
      const of = new Map(chunks.map((chunk) => [chunk.body, chunk]));
      watcher = new IntersectionObserver((seen) => {
        for (const { target, isIntersecting } of seen) (isIntersecting ? draw : fold)(of.get(target));
      }, { rootMargin: `${NEAR} 0px` });
      for (const chunk of chunks) watcher.observe(chunk.body);
    };

    const matching = () => {
      const kinds = new Set(boxes.filter((box) => box.checked).map((box) => Number(box.value)));
      const chosen = selects.filter((select) => select.value)
        .map((select) => [cells[Number(select.dataset.column)], texts.indexOf(select.value)]);
      const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean).map(find);
      // What a reader may look for in a row, folded-away facts included.
      const holds = (row, term) => {
        for (let column = 0; column < width; column += 1) if (term[cells[column][row]]) return true;
        for (let at = first[row]; at < first[row + 1]; at += 1) if (term[facts[at]]) return true;
        return false;
      };
      const found = [];
      for (let row = 0; row < size; row += 1) {
        if ((!kinds.size || kinds.has(badges[row])) && chosen.every(([column, text]) => column[row] === text) &&
          terms.every((term) => holds(row, term))) found.push(row);
      }
      return found;
    };

    const sorted = (found) => {
      const { column, down } = order;
      let rank = (row) => badges[row];
      if (column >= 0) {
        const used = [...new Set(found.map((row) => cells[column][row]))];
        const compare = figures[column + 1] ? (a, b) => figure(texts[a]) - figure(texts[b])
          : (a, b) => collator.compare(texts[a], texts[b]);
        const ranks = new Map();
        let before = null;
        for (const text of used.sort(compare)) {
          ranks.set(text, before === null ? 0 : ranks.get(before) + (compare(before, text) ? 1 : 0));
          before = text;
        }
        rank = (row) => ranks.get(cells[column][row]);
      }
      return found.sort(down ? (a, b) => rank(b) - rank(a) : (a, b) => rank(a) - rank(b));
    };

    const refresh = () => {
      const found = matching();
      shown = Uint32Array.from(order ? sorted(found) : found);
      grid.setAttribute("aria-rowcount", shown.length + 1);
      layOut();
      form.querySelector("output").textContent = shown.length === size
        ? `${said(size)} shown` : `${said(shown.length)} of ${said(size)} shown`;
    };

    const go = (place) => {
      const chunk = chunks[Math.floor(place / CHUNK)];
      draw(chunk);
      const summary = chunk.body.children[place - chunk.from].querySelector("summary");
      summary.focus({ preventScroll: true });
      summary.closest("tr").scrollIntoView({ block: "nearest" });
    };

    const onKey = (event) => {
      const row = event.target.closest("tr[data-place]");
      if (event.key === "/" && row) {
        event.preventDefault();
        search.focus();
        return;
      }
      if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
      const place = Number(row.dataset.place), last = shown.length - 1;
      const to = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      go(Math.max(0, Math.min(last, to)));
    };

    // On paper there is no window to be near to.
    const print = () => {
      for (const chunk of chunks) if (chunk.from < PRINTED) draw(chunk);
      const rest = shown.length - PRINTED;
      unprinted.hidden = rest <= 0;
      unprinted.textContent = `… and ${said(Math.max(rest, 0))} more rows, which are not printed.`;
      grid.classList.add("printing");
    };

    for (const select of selects) {
      const values = [...new Set(cells[Number(select.dataset.column)])].map((text) => texts[text]);
      for (const value of values.sort(collator.compare)) select.append(new Option(value, value));
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
    search.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" || !shown.length) return;
      event.preventDefault();
      go(0);
    });
    form.addEventListener("change", (event) => event.target === search || refresh());
    form.addEventListener("submit", (event) => event.preventDefault());
    grid.addEventListener("keydown", onKey);
    window.addEventListener("beforeprint", print);
    window.addEventListener("afterprint", () => {
      grid.classList.remove("printing");
      unprinted.hidden = true;
    });
    for (const link of document.querySelectorAll(`a[href="#${section.id}"][data-choose]`)) {
      link.addEventListener("click", () => {
        selects[0].value = link.dataset.choose;
        refresh();
      });
    }
    section.querySelector(".unread")?.remove();
    form.hidden = false;
    refresh();
  };

  // A browser that cannot unpack the data keeps the first rows, and the words below them.
  unpack().then(({ texts, tables }) => {
    const find = finder(texts);
    for (const section of document.querySelectorAll("section.grid")) setUp(section, tables[section.id], texts, find);
    const first = document.querySelector("section.grid input[type=search]");
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
      if (!first || event.target.closest?.("input, select, textarea")) return;
      event.preventDefault();
      first.focus();
    });
    document.documentElement.dataset.ready = Math.round(performance.now());
  });
})();
