// Numbers as text. Nothing is computed here but rounding and shares.

/** A minus where a hyphen stands as a sign; dates, ranges and names keep theirs. */
export function minus(text) {
  return text.replace(/(?<![\w.])-(?=\.?\d)/g, "−");
}

export function fixed(value, digits = 1) {
  return value == null ? "–" : minus(value.toFixed(digits));
}

export function signed(value, digits = 1) {
  const text = fixed(value, digits);
  return value > 0 ? `+${text}` : text;
}

/** Whole percent; "under 1" where something is there but rounds to nothing. */
export function share(count, of) {
  const percent = (100 * count) / of;
  return percent < 1 ? "<1%" : `${Math.round(percent)}%`;
}

export function between(low, high, digits = 0, sign = fixed) {
  return low == null ? "" : sign === fixed ? `${fixed(low, digits)}–${fixed(high, digits)}` : `${sign(low, digits)} to ${sign(high, digits)}`;
}

/** A nested record as `a.b: value` lines. */
export function flat(record, prefix = "") {
  return Object.entries(record ?? {}).flatMap(([name, value]) =>
    value && typeof value === "object" && !Array.isArray(value)
      ? flat(value, `${prefix}${name}.`)
      : [[`${prefix}${name}`, Array.isArray(value) ? value.join(", ") : String(value)]],
  );
}
