// The AI SDK, with the provider that it has for servers of OpenAI's dialect.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, streamText, tool } from "ai";
import { z } from "zod";
import { asked, check, embedder, model, run, token, url } from "./steps.mjs";

const rbee = createOpenAICompatible({ name: "rbee", baseURL: `${url}/v1`, apiKey: token, includeUsage: true });
const weather = tool({
  description: "Tell the weather somewhere.",
  inputSchema: z.object({ place: z.string() }),
  execute: async () => "sunny",
});
const common = { model: rbee(model), prompt: asked, maxRetries: 0, maxOutputTokens: 60 };

await run({
  models: async () => {
    // the SDK does not list models
    const answer = await fetch(`${url}/v1/models`, { headers: { Authorization: `Bearer ${token}` } });
    return (await answer.json()).data.map((each) => each.id);
  },
  chat: async () => check((await generateText({ ...common, maxOutputTokens: 12 })).text, "text"),
  stream: async () => {
    const answer = streamText({ ...common, maxOutputTokens: 12, onError: () => {} });
    let said = "";
    for await (const piece of answer.textStream) said += piece;
    check((await answer.usage).outputTokens, "usage");
    return check(said, "text");
  },
  tools: async () => {
    const answer = await generateText({ ...common, tools: { weather }, toolChoice: "required" });
    return JSON.stringify(check(answer.toolCalls[0], "call").input);
  },
  tools_stream: async () => {
    const answer = streamText({ ...common, tools: { weather }, toolChoice: "required", onError: () => {} });
    await answer.consumeStream();
    return JSON.stringify(check((await answer.toolCalls)[0], "call").input);
  },
  embeddings: async () => {
    if (!embedder) return "no embedder here";
    const found = await embedMany({ model: rbee.textEmbeddingModel(embedder), values: ["a", "b"], maxRetries: 0 });
    return `${check(found.embeddings[1].length, "vector")} numbers`;
  },
});
