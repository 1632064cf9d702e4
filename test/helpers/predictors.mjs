// Predictors that are closed after the test.
import { Predictor } from 'tandem-ml';

/** What Predictor.load gives, closed after the test. */
export async function loadPredictor(t, source, options) {
  const predictor = await Predictor.load(source, options);
  t.teardown(() => predictor.close());
  return predictor;
}
