// Make one tree look like another while keeping every node that can stay: focus, selection, scroll and typed text live in nodes.

/** Make `now` like `next` (same tag). Nodes are matched by id, else by order and tag. */
export function morph(now, next) {
  if (now.isEqualNode(next)) return;
  if (now.nodeType !== Node.ELEMENT_NODE) {
    if (now.nodeValue !== next.nodeValue) now.nodeValue = next.nodeValue;
    return;
  }
  if (now.hasAttribute("data-keep")) return;
  matchAttributes(now, next);
  matchChildren(now, next);
}

function matchAttributes(now, next) {
  for (const { name, value } of next.attributes) {
    if (now.getAttribute(name) !== value && !belongsToReader(now, name)) now.setAttribute(name, value);
  }
  for (const { name } of [...now.attributes]) {
    if (!next.hasAttribute(name) && !belongsToReader(now, name)) now.removeAttribute(name);
  }
}

/** What the reader has changed stays: an opened table, a field's value, the "copied" look of a button. */
function belongsToReader(node, name) {
  if (node instanceof HTMLDetailsElement) return name === "open";
  if (node instanceof HTMLButtonElement) return name === "class";
  return node.matches("input, select, textarea, option") && ["value", "checked", "selected"].includes(name);
}

function matchChildren(parent, next) {
  const byId = new Map();
  for (const child of parent.children) if (child.id) byId.set(child.id, child);
  const wanted = new Set();
  for (const child of next.children) if (child.id && byId.has(child.id)) wanted.add(byId.get(child.id));

  let cursor = parent.firstChild;
  for (const fresh of [...next.childNodes]) {
    while (cursor && cursor.id && !wanted.has(cursor)) cursor = drop(cursor);
    const kept = partner(cursor, fresh, byId);
    if (!kept) {
      parent.insertBefore(document.importNode(fresh, true), cursor);
      continue;
    }
    if (kept !== cursor) cursor = bring(parent, kept, cursor);
    cursor = cursor.nextSibling;
    wanted.delete(kept);
    morph(kept, fresh);
  }
  while (cursor) cursor = drop(cursor);
}

/** The node that shall become `fresh`: the one with its id, or the one at the cursor if neither has an id. */
function partner(cursor, fresh, byId) {
  if (fresh.id) {
    const kept = byId.get(fresh.id);
    return kept && kept.nodeName === fresh.nodeName ? kept : null;
  }
  const fits = cursor && !cursor.id && cursor.nodeType === fresh.nodeType && cursor.nodeName === fresh.nodeName;
  return fits ? cursor : null;
}

/** Put `kept` where the cursor is. A node that holds the focus is never moved: moving would drop the focus. */
function bring(parent, kept, cursor) {
  if (!kept.contains(document.activeElement)) {
    parent.insertBefore(kept, cursor);
    return kept;
  }
  while (cursor && cursor !== kept) {
    const after = cursor.nextSibling;
    parent.insertBefore(cursor, kept.nextSibling);
    cursor = after;
  }
  return kept;
}

function drop(node) {
  const after = node.nextSibling;
  node.remove();
  return after;
}
