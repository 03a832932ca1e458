// rate-limiter-flexible in memory: one excess within a window blocks everything for BLOCK_S.
const express = require("express");
const { RateLimiterMemory } = require("rate-limiter-flexible");
const body = require("node:fs").readFileSync(process.env.ANSWER);

const limiter = new RateLimiterMemory({
  points: Number(process.env.QUOTA),
  duration: Number(process.env.WINDOW_S),
  blockDuration: Number(process.env.BLOCK_S),
});
const app = express();
app.disable("etag");
app.use(require("./log.cjs"));
app.use((request, response, next) => limiter.consume(request.ip).then(() => next(), (refusal) => {
  if (process.env.RETRY_AFTER === "1") response.set("Retry-After", String(Math.ceil(refusal.msBeforeNext / 1000)));
  response.status(429).send("Too Many Requests");
}));
app.get("/item/:item", (_, response) => response.type("json").send(body));
app.listen(Number(process.env.PORT), "127.0.0.1", 1024).keepAliveTimeout = 600_000;
