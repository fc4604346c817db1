// Where Railway looks; what it finds is in the folder that people read.
export { default } from "../railway/railway.ts";
