import { version } from 'tandem-ml';

console.log(`tandem-ml ${version}`);
