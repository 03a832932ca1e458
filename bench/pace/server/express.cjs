// express-rate-limit around one route. SHIFT: "seconds:factor,..." counted from the first request.
const express = require("express");
const { rateLimit } = require("express-rate-limit");
const body = require("node:fs").readFileSync(process.env.ANSWER);

const quota = Number(process.env.QUOTA);
const steps = (process.env.SHIFT || "0:1").split(",").map((step) => step.split(":").map(Number));
let first;
const limit = () => {
  first ??= Date.now();
  const elapsed = (Date.now() - first) / 1000;
  return Math.round(quota * steps.findLast(([from]) => elapsed >= from)[1]);
};

const app = express();
app.disable("etag");
app.use(require("./log.cjs"));
app.use(rateLimit({
  windowMs: 1000 * Number(process.env.WINDOW_S),
  limit: process.env.SHIFT ? limit : quota,
  standardHeaders: process.env.STANDARD_HEADERS || false,
  legacyHeaders: process.env.LEGACY_HEADERS === "1",
}));
app.get("/item/:item", (_, response) => response.type("json").send(body));
app.listen(Number(process.env.PORT), "127.0.0.1", 1024).keepAliveTimeout = 600_000;
