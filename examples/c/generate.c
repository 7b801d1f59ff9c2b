// generate GRAPH ID[,ID...] [SEED]
//
// Ids in, text out, by onnxruntime's C API and the graph onnx/ids_to_text*.onnx of `gpt2xl export --text`.
//
//   cc generate.c -I INCLUDE -L LIB -lonnxruntime -o generate
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnxruntime_c_api.h"

static const OrtApi *ort;

static void check(OrtStatus *status) {
  if (!status) return;
  fprintf(stderr, "onnxruntime: %s\n", ort->GetErrorMessage(status));
  ort->ReleaseStatus(status);
  exit(1);
}

// A tensor over memory of ours; a scalar has no dimensions.
static OrtValue *tensor(void *data, size_t size, ONNXTensorElementDataType type, const int64_t *dims, size_t rank) {
  static OrtMemoryInfo *memory;
  if (!memory) check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  OrtValue *value = NULL;
  check(ort->CreateTensorWithDataAsOrtValue(memory, data, size, dims, rank, type, &value));
  return value;
}

// The only string of a tensor; the caller frees it.
static char *text_of(const OrtValue *value) {
  size_t length = 0;
  check(ort->GetStringTensorDataLength(value, &length));
  char *text = calloc(length + 1, 1);
  size_t offset = 0;
  if (!text) abort();
  check(ort->GetStringTensorContent(value, text, length, &offset, 1));
  return text;
}

// "1,2,3" -> ids; returns how many.
static int64_t read_ids(const char *text, int64_t **ids) {
  int64_t count = 0;
  *ids = malloc((strlen(text) + 1) * sizeof **ids);
  if (!*ids) abort();
  while (*text) {
    char *end;
    (*ids)[count++] = strtoll(text, &end, 10);
    if (end == text || (*end && *end != ',')) {
      fprintf(stderr, "'%s' is no list of ids such as 1,2,3\n", text);
      exit(2);
    }
    text = *end ? end + 1 : end;
  }
  return count;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: %s GRAPH ID[,ID...] [SEED]\n", argv[0]);
    return 2;
  }
  ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (!ort) {
    fprintf(stderr, "the library, %s, is older than the header, API %d\n", OrtGetApiBase()->GetVersionString(), ORT_API_VERSION);
    return 1;
  }
  OrtEnv *env;
  OrtSessionOptions *options;
  OrtSession *session;
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "gpt2xl", &env));
  check(ort->CreateSessionOptions(&options));
  check(ort->CreateSession(env, argv[1], options, &session));

  int64_t *ids, count = read_ids(argv[2], &ids);
  int64_t max_new_tokens = 60, top_k = 40, seed = argc > 3 ? strtoll(argv[3], NULL, 10) : 1;
  double temperature = 0.8;
  unsigned char stops = 1;
  const char *inputs[] = {"input_ids", "max_new_tokens", "temperature", "top_k", "seed", "stop_at_end_of_text"};
  const OrtValue *values[] = {
      tensor(ids, (size_t)count * sizeof *ids, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &count, 1),
      tensor(&max_new_tokens, sizeof max_new_tokens, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, NULL, 0),
      tensor(&temperature, sizeof temperature, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, NULL, 0),
      tensor(&top_k, sizeof top_k, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, NULL, 0),
      tensor(&seed, sizeof seed, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, NULL, 0),
      tensor(&stops, sizeof stops, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, NULL, 0),
  };
  const char *outputs[] = {"text", "finish_reason"};
  OrtValue *found[] = {NULL, NULL};
  check(ort->Run(session, NULL, inputs, values, 6, outputs, 2, found));

  char *text = text_of(found[0]), *reason = text_of(found[1]);
  puts(text);
  fprintf(stderr, "finish_reason: %s\n", reason);
  free(text);
  free(reason);
  free(ids);
  for (int i = 0; i < 6; i++) ort->ReleaseValue((OrtValue *)values[i]);
  for (int i = 0; i < 2; i++) ort->ReleaseValue(found[i]);
  ort->ReleaseSession(session);
  ort->ReleaseSessionOptions(options);
  ort->ReleaseEnv(env);
}
