// What the trials on node have in common.
import process from "node:process";

const { RBEE_URL, RBEE_TOKEN, RBEE_MODEL, RBEE_EMBEDDER } = process.env;
export const url = RBEE_URL;
export const token = RBEE_TOKEN || "none";
export const model = RBEE_MODEL;
export const embedder = RBEE_EMBEDDER;
export const asked = "What is a llama?";

export function check(value, what) {
  if (!value) throw new Error(`nothing came: ${what}`);
  return value;
}

export async function run(steps) {
  let failed = 0;
  for (const [name, step] of Object.entries(steps)) {
    try {
      console.log(`  ${name}: ${JSON.stringify(String(await step()).slice(0, 100))}`);
    } catch (error) {
      failed += 1;
      console.log(`  ${name}: FAILED: ${error.name}: ${String(error.message).slice(0, 300)}`);
    }
  }
  process.exit(failed ? 1 : 0);
}
