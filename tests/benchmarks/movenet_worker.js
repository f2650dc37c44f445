// MoveNet by TensorFlow.js over pictures, its processor backend in plain JavaScript, one picture after another.
//
// Usage: node movenet_worker.js TF.min.js MODEL.json MODEL.bin IN OUT
//
// IN holds pictures of the model's size, one behind the other, RGB, a byte a value. OUT gets for each of them 17 times
// y, x and score, float32 in the machine's byte order, y and x as shares of the picture.

const fs = require("fs");

async function main(library, topology, weights, input, output) {
  const tf = require(library);
  tf.enableProdMode(); // or it advertises its node package
  await tf.setBackend("cpu");
  const { modelTopology, signature, format, weightsManifest } = JSON.parse(fs.readFileSync(topology));
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  const weightData = new Uint8Array(fs.readFileSync(weights)).buffer;
  const load = async () => ({ modelTopology, signature, format, weightSpecs, weightData });
  const model = await tf.loadGraphModel({ load });
  const shape = model.inputs[0].shape;
  const size = shape.reduce((product, side) => product * side);
  const pictures = fs.readFileSync(input);
  const found = [];
  for (let start = 0; start < pictures.length; start += size) {
    const values = Int32Array.from(pictures.subarray(start, start + size));
    found.push(...tf.tidy(() => model.execute(tf.tensor(values, shape, "int32")).dataSync()));
  }
  fs.writeFileSync(output, new Uint8Array(Float32Array.from(found).buffer));
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
