// The few DOM helpers that the page needs.

/** An element with attributes and children; text is text, never HTML. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

/** Markdown that the build has made HTML of. */
export function trusted(html, attributes = {}) {
  const made = el("div", attributes);
  made.innerHTML = html;
  return made;
}

/** A word for readers of screens alone. */
export function hidden(text) {
  return el("span", { class: "hidden" }, text);
}
