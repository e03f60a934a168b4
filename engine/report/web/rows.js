"use strict";
// Signals as rows of text, read as engine/data/csv_file.py does it: the same header, the same column of labels.

const LABELS = ["label", "class", "target", "y"];
const NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i, NOT_FINITE = /^\s*[+-]?(nan|inf(inity)?)\s*$/i;
const isNumber = (cell) => NUMBER.test(cell) || NOT_FINITE.test(cell);

// The cells of each row that is not empty, with the row's line: [{ line, cells }].
function readLines(text) {
  const lines = text.replace(/^\ufeff/, "").split(/\r\n|\r|\n/);
  const count = (mark) => lines[0].split(mark).length;
  const delimiter = [",", ";", "\t"].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
  return lines.flatMap((row, k) => {
    const cells = row.split(delimiter).map((cell) => cell.replace(/^"(.*)"$/, "$1"));
    return cells.some((cell) => cell.trim()) ? [{ line: k + 1, cells }] : [];
  });
}

// The signals of a text, float32 [channels, 1, length] each, as { line, values }; throws what is wrong with it.
function readRows(text, [channels, , length]) {
  let rows = readLines(text), header = null;
  const isHeader = ({ cells }) => cells.some((cell) => LABELS.includes(cell.trim().toLowerCase()))
    || cells.slice(1, -1).some((cell) => cell.trim() && !isNumber(cell));
  if (rows.length && isHeader(rows[0])) [header, ...rows] = rows;
  if (!rows.length) throw new Error("expected a signal in each row, found no rows");
  const count = channels * length, width = rows[0].cells.length;
  if (width !== count && width !== count + 1)
    throw new Error(`line ${rows[0].line}: expected ${count} values, and perhaps a label, found ${width} columns`);
  let column = -1;
  if (width > count) {
    column = header ? header.cells.findIndex((name) => LABELS.includes(name.trim().toLowerCase())) : -1;
    if (column < 0) column = rows.some(({ cells }) => cells.at(-1).trim() && !isNumber(cells.at(-1))) ? width - 1 : 0;
  }
  return rows.map(({ line, cells }) => {
    if (cells.length !== width) throw new Error(`line ${line}: expected ${width} columns, found ${cells.length}`);
    const numbers = cells.filter((_, k) => k !== column);
    const values = new Float32Array(count);
    numbers.forEach((cell, k) => {
      const value = NUMBER.test(cell) ? Math.fround(Number(cell)) : NaN;
      if (!Number.isFinite(value)) throw new Error(`line ${line}: expected finite numbers, found ${cell.trim() || "nothing"}`);
      values[(k % channels) * length + Math.floor(k / channels)] = value;
    });
    return { line, values };
  });
}
