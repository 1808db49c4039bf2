// Exact bounds and tests of a random sample from a finite population, in whole numbers: the same as
// `bulklink.hypergeometric`, in which each step is explained.

const CONFIDENCE_PERCENT = 95n;

const choose = (items, number) => {
  const few = Math.min(number, items - number);
  if (few < 0) return 0n;
  let ways = 1n;
  for (let n = 1; n <= few; n += 1) ways = (ways * BigInt(items - few + n)) / BigInt(n);
  return ways;
};

const countSamples = (population, size, wrong, totalWrong) => {
  const smaller = Math.min(size, totalWrong);
  const larger = Math.max(size, totalWrong);
  const remainder = population - larger - smaller;
  let overlap = Math.max(0, -remainder);
  let term = choose(larger, overlap) * choose(population - larger, smaller - overlap);
  let weight = 0n;
  for (; overlap <= Math.min(wrong, smaller); overlap += 1) {
    weight += term;
    term =
      (term * BigInt(larger - overlap) * BigInt(smaller - overlap)) /
      BigInt((overlap + 1) * (remainder + overlap + 1));
  }
  return [weight, choose(population, smaller)];
};

const isPlausible = (population, size, wrong, totalWrong) => {
  const [thisGood, all] = countSamples(population, size, wrong, totalWrong);
  return thisGood * 100n > (100n - CONFIDENCE_PERCENT) * all;
};

const lastWhere = (holds, first, end) => {
  let [low, step] = [first, 1];
  while (low + step <= end && holds(low + step)) [low, step] = [low + step, step * 2];
  let high = Math.min(low + step, end + 1);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
};

const maxWrong = (population, size, wrong) =>
  lastWhere(
    (inAll) => isPlausible(population, size, wrong, inAll),
    wrong,
    population - size + wrong,
  );

const leastSample = (population, wrong, allowed) => {
  if (wrong > allowed) return null;
  if (allowed >= population) return wrong;
  const holds = (size) => isPlausible(population, size, wrong, allowed + 1);
  return 1 + lastWhere(holds, wrong, population - 1);
};

const exceeds = (population, size, wrong, allowed) => {
  if (wrong === 0) return false;
  const [better, all] = countSamples(population, size, wrong - 1, allowed);
  return (all - better) * 100n <= (100n - CONFIDENCE_PERCENT) * all;
};
