// Reads the paths of glb files from argv, prints one JSON array with the validator's report of each.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const validator = createRequire(import.meta.url)("gltf-validator");
const reports = [];
for (const path of process.argv.slice(2)) {
  const report = await validator.validateBytes(new Uint8Array(readFileSync(path)), { maxIssues: 1000 });
  reports.push({ issues: report.issues, info: report.info });
}
console.log(JSON.stringify(reports));
