// The official client of OpenAI's on node.
import OpenAI from "openai";
import { asked, check, embedder, model, run, token, url } from "./steps.mjs";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0 });
const messages = [{ role: "user", content: asked }];
const parameters = {
  type: "object",
  properties: { place: { type: "string" } },
  required: ["place"],
  additionalProperties: false,
};

await run({
  models: async () => (await client.models.list()).data.map((each) => each.id),
  chat: async () => {
    const answer = await client.chat.completions.create({ model, messages, max_completion_tokens: 12 });
    return check(answer.choices[0].message.content, "text");
  },
  stream: async () => {
    const chunks = await client.chat.completions.create({
      model, messages, max_completion_tokens: 12, stream: true, stream_options: { include_usage: true },
    });
    let said = "";
    let usage = null;
    for await (const chunk of chunks) {
      said += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    check(usage, "usage");
    return check(said, "text");
  },
  tools: async () => {
    const answer = await client.chat.completions.create({
      model, messages, tool_choice: "required", max_completion_tokens: 60,
      tools: [{ type: "function", function: { name: "weather", parameters } }],
    });
    return check(answer.choices[0].message.tool_calls?.[0].function.arguments, "call");
  },
  responses: async () => {
    const first = await client.responses.create({ model, input: asked, max_output_tokens: 16 });
    const second = await client.responses.create({
      model, input: "And why?", previous_response_id: first.id, max_output_tokens: 16,
    });
    check(second.output_text, "text");
    return check(first.output_text, "text");
  },
  responses_stream: async () => {
    const stream = client.responses.stream({ model, input: asked, max_output_tokens: 16 });
    let said = "";
    stream.on("response.output_text.delta", (event) => { said += event.delta; });
    const made = await stream.finalResponse();
    if (made.output_text !== said) throw new Error("the stream said something else than its end");
    return check(said, "text");
  },
  responses_tools: async () => {
    const answer = await client.responses.create({
      model, input: asked, tool_choice: "required", max_output_tokens: 60,
      tools: [{ type: "function", name: "weather", parameters, strict: true }],
    });
    return check(answer.output.find((item) => item.type === "function_call")?.arguments, "call");
  },
  embeddings: async () => {
    if (!embedder) return "no embedder here";
    const found = await client.embeddings.create({ model: embedder, input: ["a", "b"] });
    return `${check(found.data[1].embedding.length, "vector")} numbers`;
  },
});
