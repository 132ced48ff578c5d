// Bundles the program and the style of the page of runs into two files that ship in the wheel. The same input gives the same bytes.
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const out = process.argv[2] ?? "../dvlite/reports";
const parts = ["preact", "@preact/signals", "@preact/signals-core", "uplot"];
const licences = parts.map((name) => {
  const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  return `${name} ${version}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}`;
});
const banner = `/*!\nBuilt by \`make web\` from web/. It contains:\n\n${licences.join("\n\n---\n\n")}\n*/`;

const { outputFiles } = await build({
  entryPoints: { runs_page: "src/main.tsx" },
  bundle: true,
  minify: true,
  charset: "ascii",
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  outdir: "/",
  write: false,
});
for (const { path, text } of outputFiles) {
  const isScript = path.endsWith(".js");
  if (/<\/(script|style)|<!--/i.test(text)) throw new Error(`${path} would end the element that it stands in`);
  writeFileSync(`${out}${path}`, isScript ? `${banner}\n${text}` : text);
}
