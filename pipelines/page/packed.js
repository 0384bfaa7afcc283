// Blocks of the page: gzip in base64, each unpacked once, when it is first asked for.

const unpacked = new Map();

/** The data of a block, or null where the page has none of that name. */
export function block(name) {
  if (!unpacked.has(name)) unpacked.set(name, unpack(name));
  return unpacked.get(name);
}

async function unpack(name) {
  const place = document.getElementById(`block-${name}`);
  if (!place) return null;
  const bytes = Uint8Array.from(atob(place.textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
