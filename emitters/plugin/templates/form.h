/* What the core knows of one form of the model: the FAUST program for one sample rate, in C. */
#ifndef @P@_FORM_H
#define @P@_FORM_H

#include <stdint.h>
#include <stdlib.h>

#include "@p@_tables.h"

#define FAUSTFLOAT @p@_real

/* As faust/gui/CInterface.h has them: what FAUST's C calls to declare its sliders. */
typedef struct {
    void *uiInterface;
    void (*openTabBox)(void *, const char *);
    void (*openHorizontalBox)(void *, const char *);
    void (*openVerticalBox)(void *, const char *);
    void (*closeBox)(void *);
    void (*addButton)(void *, const char *, FAUSTFLOAT *);
    void (*addCheckButton)(void *, const char *, FAUSTFLOAT *);
    void (*addVerticalSlider)(void *, const char *, FAUSTFLOAT *, FAUSTFLOAT, FAUSTFLOAT,
                              FAUSTFLOAT, FAUSTFLOAT);
    void (*addHorizontalSlider)(void *, const char *, FAUSTFLOAT *, FAUSTFLOAT, FAUSTFLOAT,
                                FAUSTFLOAT, FAUSTFLOAT);
    void (*addNumEntry)(void *, const char *, FAUSTFLOAT *, FAUSTFLOAT, FAUSTFLOAT, FAUSTFLOAT,
                        FAUSTFLOAT);
    void (*declare)(void *, FAUSTFLOAT *, const char *, const char *);
} UIGlue;

typedef struct {
    void *metaInterface;
    void (*declare)(void *, const char *, const char *);
} MetaGlue;

typedef struct @p@_form {
    double rate;      /* hertz */
    uint32_t latency; /* samples */
    uint32_t settle;  /* samples after which all knobs have arrived */
    double tail;      /* seconds, negative for ever */
    void *(*create)(void);
    void (*destroy)(void *);
    void (*prepare)(int); /* tables that all instances share */
    void (*init)(void *, int);
    void (*build)(void *, UIGlue *);
    void (*compute)(void *, int, FAUSTFLOAT **, FAUSTFLOAT **);
} @p@_form;

#endif
