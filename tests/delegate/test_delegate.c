/* An external TFLite delegate that behaves as libedgetpu's does, well or badly, without a chip.
 *
 * Like libedgetpu it takes over every operator that is named edgetpu-custom-op and nothing else. It computes nothing:
 * each output byte becomes -128, the lowest value of int8. How it behaves is said by the environment variable
 * TEST_DELEGATE, read when it is created:
 *
 *   (empty)          all goes well
 *   refuse-create    no delegate is made, as when there is no Edge TPU, or it may not be opened
 *   refuse-apply     the delegate's own preparation fails, when it is put on the graph
 *   refuse-prepare   the model's operator is refused, as when it was compiled for a newer runtime
 *   fail:N           the N-th invocation, counted from 1 over all models, and every later one fails
 *   hang:N           the N-th invocation never returns
 *   hang-create      making the delegate never returns
 *   crash            making the delegate ends the process, as a library made for another TFLite does
 *
 * Below is as much of TFLite's C interface (tensorflow/lite/core/c/common.h, 2.14 to today) as is touched here: the
 * order and types of fields up to the last one used.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define CUSTOM_OP "edgetpu-custom-op"
enum { kOk = 0, kError = 1 };

typedef struct {
  int size;
  int data[];
} IntArray;

typedef struct {
  int type;
  void* data;
  IntArray* dims;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  int allocation_type;
  size_t bytes;
  const void* allocation;
  const char* name;
  void* delegate;
  int buffer_handle;
  _Bool data_is_stale;
  _Bool is_variable;
  struct {
    int type;
    void* params;
  } quantization;
  void* sparsity;
  const IntArray* dims_signature;
} Tensor;

typedef struct {
  IntArray* inputs;
  IntArray* outputs;
} Node;

typedef struct Context Context;
typedef struct Delegate Delegate;

typedef struct {
  void* (*init)(Context*, const char*, size_t);
  void (*free)(Context*, void*);
  int (*prepare)(Context*, Node*);
  int (*invoke)(Context*, Node*);
  const char* (*profiling_string)(const Context*, const Node*);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* room_for_later_fields[8];
} Registration;

struct Context {
  size_t tensors_size;
  int (*GetExecutionPlan)(Context*, IntArray**);
  Tensor* tensors;
  void* impl;
  int (*ResizeTensor)(Context*, Tensor*, IntArray*);
  void (*ReportError)(Context*, const char*, ...);
  int (*AddTensors)(Context*, int, int*);
  int (*GetNodeAndRegistration)(Context*, int, Node**, Registration**);
  int (*ReplaceNodeSubsetsWithDelegateKernels)(Context*, Registration, const IntArray*, Delegate*);
};

struct Delegate {
  void* data;
  int (*Prepare)(Context*, Delegate*);
  int (*CopyFromBufferHandle)(Context*, Delegate*, int, Tensor*);
  int (*CopyToBufferHandle)(Context*, Delegate*, int, Tensor*);
  void (*FreeBufferHandle)(Context*, Delegate*, int*);
  int64_t flags;
  void* opaque_delegate_builder;
};

static enum { kWell, kRefuseApply, kRefusePrepare, kFail, kHang } behaviour;
static long trouble_at;
static long invocations;

static int kernel_prepare(Context* context, Node* node) {
  (void)node;
  if (behaviour == kRefusePrepare) {
    context->ReportError(context, "Failed to prepare for TPU. test delegate: executable needs a newer runtime");
    return kError;
  }
  return kOk;
}

static int kernel_invoke(Context* context, Node* node) {
  ++invocations;
  if (behaviour == kFail && invocations >= trouble_at) {
    context->ReportError(context, "Failed to execute request. test delegate: invocation %ld", invocations);
    return kError;
  }
  while (behaviour == kHang && invocations >= trouble_at) pause();
  for (int i = 0; i < node->outputs->size; ++i) {
    Tensor* output = &context->tensors[node->outputs->data[i]];
    memset(output->data, 0x80, output->bytes);
  }
  return kOk;
}

static void* kernel_init(Context* context, const char* params, size_t length) {
  (void)context, (void)params, (void)length;
  return malloc(1);
}

static void kernel_free(Context* context, void* data) {
  (void)context;
  free(data);
}

static int delegate_prepare(Context* context, Delegate* delegate) {
  if (behaviour == kRefuseApply) {
    context->ReportError(context, "test delegate: refused");
    return kError;
  }
  IntArray* plan;
  if (context->GetExecutionPlan(context, &plan) != kOk) return kError;
  /* The plan changes while nodes are replaced. */
  const size_t bytes = sizeof(IntArray) + plan->size * sizeof(int);
  IntArray* nodes = malloc(bytes);
  memcpy(nodes, plan, bytes);
  Registration kernel = {kernel_init, kernel_free, kernel_prepare, kernel_invoke, NULL, 0, "TestDelegate", 1, {NULL}};
  int status = kOk;
  for (int i = 0; i < nodes->size && status == kOk; ++i) {
    Node* node;
    Registration* registration;
    status = context->GetNodeAndRegistration(context, nodes->data[i], &node, &registration);
    if (status == kOk && registration->custom_name && strcmp(registration->custom_name, CUSTOM_OP) == 0) {
      IntArray* one = malloc(sizeof(IntArray) + sizeof(int));
      one->size = 1;
      one->data[0] = nodes->data[i];
      status = context->ReplaceNodeSubsetsWithDelegateKernels(context, kernel, one, delegate);
      free(one);
    }
  }
  free(nodes);
  return status;
}

EXPORT Delegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count, void (*report)(const char*)) {
  const char* wanted = getenv("TEST_DELEGATE");
  const char* told = getenv("TEST_DELEGATE_LOG");
  if (!wanted) wanted = "";
  if (told) { /* what it was asked for, for the test to read */
    FILE* file = fopen(told, "a");
    for (size_t i = 0; file && i < count; ++i) fprintf(file, "%s=%s\n", keys[i], values[i]);
    if (file) fprintf(file, "created\n"), fclose(file);
  }
  if (strcmp(wanted, "crash") == 0) abort();
  while (strcmp(wanted, "hang-create") == 0) pause();
  if (strcmp(wanted, "refuse-create") == 0) {
    (void)report; /* libedgetpu says nothing either */
    return NULL;
  }
  behaviour = kWell;
  if (strcmp(wanted, "refuse-apply") == 0) behaviour = kRefuseApply;
  if (strcmp(wanted, "refuse-prepare") == 0) behaviour = kRefusePrepare;
  if (strncmp(wanted, "fail:", 5) == 0) behaviour = kFail;
  if (strncmp(wanted, "hang:", 5) == 0) behaviour = kHang;
  if (behaviour == kFail || behaviour == kHang) trouble_at = atol(wanted + 5);
  invocations = 0;
  Delegate* delegate = calloc(1, sizeof *delegate);
  delegate->Prepare = delegate_prepare;
  delegate->flags = 1; /* allows dynamic tensors */
  return delegate;
}

EXPORT void tflite_plugin_destroy_delegate(Delegate* delegate) { free(delegate); }

EXPORT const char* edgetpu_version(void) { return "BuildLabel(test), RuntimeVersion(14)"; }
